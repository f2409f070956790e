"""Where our numbers stand beside published ones: within, above or below; in the same order."""

import itertools
import math
from collections.abc import Iterable

from seq2seq_jax.reports.published import Published

DEVIATIONS = 2.0


def verdict(published: Published, mean: float, sd: float | None, digits: int) -> str:
    """`within`, `above` or `below` the published number; about the number, not about its worth.

    Our mean is compared with the published spread, low to high. Where the source gives none, with
    value - 2 sd to value + 2 sd, sd being ours over seeds, and `(our spread)` says so. With one
    seed on our side there is no spread at all, and `(no spread)` says so. All are compared as the
    table prints them, to so many digits. A number that nobody has verified gets no verdict but
    `unverified`, and neither does a mean that is no number.
    """
    if published.unverified:
        return "unverified"
    if not math.isfinite(mean):
        return "diverged"
    value = float(published.value)
    low, high, rule = value, value, " (no spread)"
    if published.low:
        low, high, rule = float(published.low), float(published.high), ""
    elif sd is not None and math.isfinite(sd):
        low, high, rule = value - DEVIATIONS * sd, value + DEVIATIONS * sd, " (our spread)"
    ours, low, high = (round(number, digits) for number in (mean, low, high))
    return ("below" if ours < low else "above" if ours > high else "within") + rule


def same_order(rows: Iterable[tuple[str, float, float]]) -> tuple[int, int]:
    """(pairs that ours puts in the published order, pairs that have a published order) of rows.

    A row is our cell, the published number and ours. A cell that stands in several rows is not
    compared with itself, and what is the same in two rows counts once.
    """
    pairs = [
        (theirs - other_theirs, ours - other_ours)
        for (cell, theirs, ours), (other, other_theirs, other_ours) in itertools.combinations(
            dict.fromkeys(rows), 2
        )
        if cell != other and theirs != other_theirs
    ]
    return sum(theirs * ours > 0 for theirs, ours in pairs), len(pairs)
