"""How well soft alignments agree with gold links: error rate and distance.

A link is (source word, target word), counted from 0, without start or end tokens; `by_word` makes
positions words where a token is less than that. Arrays of links end in G, one entry a gold link.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from seq2seq_jax.types import InputError

Links = Iterable[Sequence[int]]


def gold_counts(
    alignment_BTNS: Float[np.ndarray, "B T heads S"],
    source_words_B: Int[np.ndarray, " B"],
    target_words_B: Int[np.ndarray, " B"],
    gold: Sequence[Links],
    possible: Sequence[Links] = (),
) -> Float[np.ndarray, "B C"]:
    """Compares each head, and the mean over heads, with the gold links of each row.

    `gold` links are sure, `possible` ones neither demanded nor wrong. Counts that add up over
    sentences: gold links; then for the mean over heads and, with several, for each head: how many
    proposed links are sure plus how many are possible (a sure one counts twice), links that are
    proposed, and the sum of |s - s_gold| under the weights, in words. Raises InputError where the
    array is too small for the words.
    """
    mean_BT1S = alignment_BTNS.mean(axis=2, keepdims=True)
    single = alignment_BTNS.shape[2] == 1
    alignment_BTNS = np.concatenate([mean_BT1S, *([] if single else [alignment_BTNS])], axis=2)
    sure, either = _listed(gold), _listed(possible)
    row_G, source_G, target_G = _columns(sure)
    row_P, source_P, target_P = _columns(either - sure)
    link_BTN = hard_links(alignment_BTNS, source_words_B, target_words_B)
    rows, _, heads, _ = alignment_BTNS.shape
    gold_B1, (agreed_BN, distance_BN) = np.zeros((rows, 1)), np.zeros((2, rows, heads))
    np.add.at(gold_B1, row_G, 1.0)
    np.add.at(agreed_BN, row_G, 2.0 * (link_BTN[row_G, target_G] == source_G[:, None]))
    np.add.at(agreed_BN, row_P, link_BTN[row_P, target_P] == source_P[:, None])
    np.add.at(distance_BN, row_G, _distances(alignment_BTNS[row_G, target_G], source_G))
    return np.concatenate([gold_B1, agreed_BN, (link_BTN >= 0).sum(axis=1), distance_BN], axis=1)


def _listed(gold: Sequence[Links]) -> set[tuple[int, ...]]:
    """(row, source word, target word) of each link, once."""
    return {(row, *link) for row, links in enumerate(gold) for link in links}


def _columns(links: set[tuple[int, ...]]) -> Int[np.ndarray, "3 G"]:
    return np.array(sorted(links), np.int64).reshape(-1, 3).T


def by_word(
    alignment_TNS: Float[np.ndarray, "T heads S"],
    target_sizes: Sequence[int],
    source_sizes: Sequence[int],
) -> Float[np.ndarray, "W heads V"]:
    """The alignment of W - 1 target and V - 1 source words, and behind them of the end tokens.

    `sizes`: the tokens of each word. The weight of a source word is the sum of its tokens' weights,
    and that of a target word the mean over its tokens.
    """
    member_TW = _members(target_sizes, alignment_TNS.shape[0])
    member_TW /= np.maximum(member_TW.sum(axis=0), 1.0)
    of_words_WNS = np.tensordot(member_TW, alignment_TNS, (0, 0))
    return of_words_WNS @ _members(source_sizes, alignment_TNS.shape[2])


def _members(sizes: Sequence[int], positions: int) -> Float[np.ndarray, "D W"]:
    """1 where a token is of a word; the end token is the last word, padding is of none."""
    word_D = np.repeat(np.arange(len(sizes) + 1), [*sizes, 1])
    member_DW = np.zeros((positions, len(sizes) + 1))
    member_DW[np.arange(len(word_D)), word_D] = 1.0
    return member_DW


def hard_links(
    alignment_BTNS: Float[np.ndarray, "B T N S"],
    source_words_B: Int[np.ndarray, " B"],
    target_words_B: Int[np.ndarray, " B"],
) -> Int[np.ndarray, "B T N"]:
    """The source word of the greatest weight for each target word, -1 where there is no link.

    Rows past the target's words (the end token's) are left out. A word whose greatest weight lies
    past the source's words (on its end token), or that has no weight at all, has no link. Of equal
    weights the first counts. Raises InputError where the array is too small for the words.
    """
    _, rows, _, columns = alignment_BTNS.shape
    if (target_words_B > rows).any() or (source_words_B > columns).any():
        raise InputError(
            f"an alignment of {rows} target x {columns} source positions cannot hold "
            f"{target_words_B.max()} target x {source_words_B.max()} source words"
        )
    best_BTN = alignment_BTNS.argmax(axis=3)
    linked_BTN = best_BTN < source_words_B[:, None, None]
    linked_BTN &= alignment_BTNS.max(axis=3) > 0
    linked_BTN &= (np.arange(rows) < target_words_B[:, None])[:, :, None]
    return np.where(linked_BTN, best_BTN, -1)


def _distances(
    alignment_GNS: Float[np.ndarray, "G N S"], source_G: Int[np.ndarray, " G"]
) -> Float[np.ndarray, "G N"]:
    away_GS = np.abs(np.arange(alignment_GNS.shape[2]) - source_G[:, None])
    return (alignment_GNS * away_GS[:, None]).sum(axis=2, dtype=np.float64)


def gold_metrics(sums_C: Float[np.ndarray, " C"]) -> dict[str, float]:
    """`aer` and `gold_distance` from summed rows of `gold_counts`: of the mean over heads and, with
    several, of each.

    gold_distance = mean over gold links (s', t) of sum over s of a_t(s) |s - s'|, in words. A
    number that is not defined, for want of links, is left out.
    """
    gold = int(sums_C[0])
    agreed_N, proposed_N, distance_N = sums_C[1:].reshape(3, -1)
    metrics: dict[str, float] = {}
    if (proposed_N + gold > 0).all():
        rates = [
            alignment_error_rate(int(a), int(p), gold)
            for a, p in zip(agreed_N, proposed_N, strict=True)
        ]
        metrics |= by_head("aer", rates[0], rates[1:])
    if gold:
        first, *heads = (distance_N / gold).tolist()
        metrics |= by_head("gold_distance", first, heads)
    return metrics


def alignment_error_rate(agreed: int, proposed: int, sure: int) -> float:
    """AER = 1 - (|A∩S| + |A∩P|) / (|A| + |S|) (Och & Ney 2003), a fraction; 0 is perfect.

    A are the `proposed` links, S the `sure` ones, P those that are at least possible, S among
    them; `agreed` = |A∩S| + |A∩P|. The counts may be sums over a corpus. Raises InputError where
    there is no link at all.
    """
    if proposed + sure == 0:
        raise InputError("no alignment error rate without links: none proposed, none in the gold")
    return 1.0 - agreed / (proposed + sure)


def by_head(name: str, overall: float, heads: Sequence[float]) -> dict[str, float]:
    """{name: overall, name/head0: ...}; a single head is the whole and has no line of its own."""
    several = heads if len(heads) > 1 else []
    return {name: overall} | {f"{name}/head{n}": value for n, value in enumerate(several)}
