"""A cell minus its baseline: is the difference more than chance of sentences, or of seeds?

Two questions, two tests. Other test sentences: the paired bootstrap of `significance`. Other seeds:
Welch's t-test here. Seeds are not paired, although cells share them: what a seed fixes (the order
of the data, the first values of the shared parts) says little about the end of a training, and a
paired test would pay for it with half of its degrees of freedom. Cells that are the same trainings,
searched otherwise, have no such test.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from scipy.special import stdtr

from seq2seq_jax.reports.columns import COLUMNS
from seq2seq_jax.reports.significance import Comparison


class Value(NamedTuple):
    """A metric of one cell in the column's unit; sd is the sample's (n - 1), None for one seed."""

    mean: float
    sd: float | None
    n: int
    best: bool = False
    p: float | None = None  # of the difference from the baseline, over sentences
    p_seeds: float | None = None  # and over seeds


class Difference(NamedTuple):
    """A metric of a cell minus that of the baseline, in the column's unit.

    low, high, p: over test sentences, None where they were not compared; p_seeds: over seeds, None
    where a side has only one.
    """

    cell: str
    metric: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_seeds: float | None


def welch(ours: Value, theirs: Value) -> float | None:
    """Two-sided p of Welch's t-test (Welch 1947) for two means of seeds with unequal variances.

    t = (mean - mean') / sqrt(v + v'), v = sd^2 / n, with
    (v + v')^2 / (v^2 / (n - 1) + v'^2 / (n' - 1)) degrees of freedom. It takes scores of seeds as
    independent and normal, which a handful of seeds can neither show nor refute; with two or three
    it sees large differences only. None where a side has one seed, where no seed differs from
    another (the test knows no spread then) and where a mean is no number.
    """
    if ours.sd is None or theirs.sd is None:
        return None
    greater, difference = max(ours.sd, theirs.sd), ours.mean - theirs.mean
    if not math.isfinite(ours.sd + theirs.sd + difference) or greater == 0:
        return None
    # A power of two, in which no square of a diverged run's numbers overflows.
    unit = math.ldexp(1.0, math.frexp(greater)[1] - 1)
    v, w = (ours.sd / unit) ** 2 / ours.n, (theirs.sd / unit) ** 2 / theirs.n
    freedom = (v + w) ** 2 / (v**2 / (ours.n - 1) + w**2 / (theirs.n - 1))
    return float(2 * stdtr(freedom, -abs(difference) / unit / math.sqrt(v + w)))


def differences(
    cell: str,
    ours: dict[str, Value],
    theirs: dict[str, Value],
    metrics: Iterable[str],
    comparisons: list[Comparison],
) -> list[Difference]:
    """Those of `metrics` that both have; `comparisons` hold what is known of this cell's."""
    tested = {item.metric: item for item in comparisons if item.cell == cell}
    found = []
    for metric in metrics:
        if metric in ours and metric in theirs:
            scale = COLUMNS[metric].scale
            low = high = p = None
            difference = ours[metric].mean - theirs[metric].mean
            if metric in tested:
                item = tested[metric]
                difference, low, high = (
                    value * scale for value in (item.difference, item.low, item.high)
                )
                p = item.p
            p_seeds = welch(ours[metric], theirs[metric])
            found.append(Difference(cell, metric, difference, low, high, p, p_seeds))
    return found
