"""How well soft alignments agree with gold links: the alignment error rate.

A link is (source word, target word), counted from 0, without start or end tokens.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from seq2seq_jax.types import InputError


def hard_links(
    alignment_TS: Float[np.ndarray, "T S"], source_words: int, target_words: int
) -> set[tuple[int, int]]:
    """Links each target word with the source word of its greatest weight.

    Rows past `target_words` (the end token's) are left out. A word whose greatest weight lies past
    `source_words` (on the source's end token), or that has no weight at all, has no link. Of equal
    weights the first counts. Raises InputError where the array is too small for the words.
    """
    rows, columns = alignment_TS.shape
    if target_words > rows or source_words > columns:
        raise InputError(
            f"an alignment of {rows} target x {columns} source positions cannot hold "
            f"{target_words} target x {source_words} source words"
        )
    if columns == 0:
        return set()
    weights_TS = alignment_TS[:target_words]
    best_T = weights_TS.argmax(axis=1)
    linked_T = (best_T < source_words) & (weights_TS.max(axis=1) > 0)
    return {(int(best_T[t]), int(t)) for t in np.flatnonzero(linked_T)}


def aer_counts(
    links: Iterable[Sequence[int]], gold: Iterable[Sequence[int]]
) -> tuple[int, int, int]:
    """(matches, proposed, gold): the sums over sentences that `alignment_error_rate` divides."""
    links, gold = {(s, t) for s, t in links}, {(s, t) for s, t in gold}
    return len(links & gold), len(links), len(gold)


def alignment_error_rate(matches: int, proposed: int, gold: int) -> float:
    """AER = 1 - (|A∩S| + |A∩P|) / (|A| + |S|) (Och & Ney 2003), a fraction; 0 is perfect.

    With sure = possible links, S = P = gold: 1 - 2 matches / (proposed + gold), and the counts may
    be sums over a corpus. Raises InputError where there is no link at all.
    """
    if proposed + gold == 0:
        raise InputError("no alignment error rate without links: none proposed, none in the gold")
    return 1.0 - 2.0 * matches / (proposed + gold)
