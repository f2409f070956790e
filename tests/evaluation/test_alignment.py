import numpy as np
import pytest

from seq2seq_jax.evaluation.alignment import (
    alignment_error_rate,
    by_word,
    gold_counts,
    gold_metrics,
    hard_links,
)
from seq2seq_jax.types import InputError


def och_ney(proposed: set, sure: set, possible: set) -> float:
    """Och & Ney 2003, the alignment error rate, as printed."""
    return 1 - (len(proposed & sure) + len(proposed & possible)) / (len(proposed) + len(sure))


def links_of(alignment_TS, source_words, target_words):
    """The links of one sentence with one head, as a list of source words."""
    alignment_BTNS = np.asarray(alignment_TS)[None, :, None]
    return hard_links(alignment_BTNS, np.array([source_words]), np.array([target_words]))[
        0, :, 0
    ].tolist()


def test_tokens_become_words():
    """Two target words of 2 and 1 tokens, source words of 1 and 2; end tokens, then padding."""
    alignment_TS = np.array(
        [
            [0.1, 0.2, 0.3, 0.4, 0.0],
            [0.5, 0.1, 0.2, 0.2, 0.0],
            [0.0, 0.6, 0.1, 0.3, 0.0],
            [0.2, 0.0, 0.0, 0.8, 0.0],
            [9.0, 9.0, 9.0, 9.0, 9.0],
        ]
    )
    found_WNV = by_word(alignment_TS[:, None], [2, 1], [1, 2])
    expected_WV = [[0.3, 0.4, 0.3], [0.0, 0.7, 0.3], [0.2, 0.0, 0.8]]
    np.testing.assert_allclose(found_WNV[:, 0], expected_WV, atol=1e-12)


def test_a_word_of_one_token_keeps_its_weights():
    alignment_BTNS, source_words, target_words, _ = corpus()
    for alignment_TNS, s, t in zip(alignment_BTNS, source_words, target_words, strict=True):
        found = by_word(alignment_TNS, [1] * t, [1] * s)
        np.testing.assert_array_equal(found, alignment_TNS[: t + 1, :, : s + 1])


def test_links_are_the_greatest_weights():
    alignment = [
        [0.7, 0.2, 0.1],
        [0.1, 0.2, 0.7],  # on the source's end token: no link
        [0.3, 0.4, 0.3],
        [0.9, 0.1, 0.0],  # the row of the target's end token
    ]
    assert links_of(alignment, source_words=2, target_words=3) == [0, -1, 1, -1]


def test_a_row_without_weight_links_to_nothing():
    assert links_of(np.zeros((3, 4)), 3, 2) == [-1, -1, -1]


def test_equal_weights_take_the_first():
    assert links_of(np.full((1, 3), 1 / 3), 2, 1) == [0]


def test_a_translation_without_end_token_keeps_all_rows():
    assert links_of(np.eye(3), source_words=3, target_words=3) == [0, 1, 2]


def test_an_empty_sentence():
    assert links_of(np.ones((1, 1)), 0, 0) == [-1]


@pytest.mark.parametrize(("source", "target"), [(4, 2), (3, 3)])
def test_too_many_words_for_the_array(source, target):
    with pytest.raises(InputError, match=f"{target} target x {source} source"):
        links_of(np.zeros((2, 3)), source, target)


def corpus(seed=0, sentences=12, heads=2, targets=6, sources=7):
    """Random alignments with end tokens, lengths in words, and gold links."""
    rng = np.random.default_rng(seed)
    alignment_BTNS = np.zeros((sentences, targets, heads, sources), np.float32)
    lengths = np.stack([rng.integers(1, sources, sentences), rng.integers(1, targets, sentences)])
    gold = []
    for row, (s, t) in enumerate(lengths.T):
        alignment_BTNS[row, : t + 1, :, : s + 1] = rng.dirichlet(np.ones(s + 1), (t + 1, heads))
        gold.append(rng.integers(0, (s, t), (5, 2)).tolist())
    return alignment_BTNS, *lengths, gold


def reference(alignment_BTS, source_words, target_words, gold, possible=()):
    """(AER as printed, distance) of one head, sentence by sentence, in float64."""
    proposed, sure, distances = set(), set(), []
    either = {(row, s, t) for row, links in enumerate(possible) for s, t in links}
    for row, links in enumerate(gold):
        alignment = alignment_BTS[row].astype(np.float64)
        for t in range(target_words[row]):
            best = int(alignment[t].argmax())
            if best < source_words[row]:
                proposed.add((row, best, t))
        sure |= {(row, s, t) for s, t in links}
        for gold_s, t in {tuple(link) for link in links}:
            distances.append(sum(a * abs(s - gold_s) for s, a in enumerate(alignment[t])))
    return och_ney(proposed, sure, sure | either), np.mean(distances)


def test_corpus_numbers_are_the_formulas_for_each_head_and_for_the_mean():
    alignment_BTNS, *lengths, gold = corpus()
    expected = {}
    heads = {f"/head{n}": alignment_BTNS[:, :, n] for n in (0, 1)}
    for name, head in ({"": alignment_BTNS.mean(axis=2)} | heads).items():
        aer, distance = reference(head, *lengths, gold)
        expected |= {f"aer{name}": aer, f"gold_distance{name}": distance}
    found = gold_metrics(gold_counts(alignment_BTNS, *lengths, gold).sum(axis=0))
    assert found == pytest.approx(expected, rel=1e-6)
    assert found["aer/head0"] != found["aer/head1"]


def test_possible_links_are_neither_demanded_nor_wrong():
    """Some of them are sure, too, and some are listed twice."""
    alignment_BTNS, *lengths, gold = corpus()
    words = zip(gold, lengths[1], strict=True)
    possible = [[*links[:1], (0, 0), (0, 0), (0, int(count) - 1)] for links, count in words]
    aer, distance = reference(alignment_BTNS[:, :, 0], *lengths, gold, possible)
    found = gold_metrics(
        gold_counts(alignment_BTNS[:, :, :1], *lengths, gold, possible).sum(axis=0)
    )
    assert found == pytest.approx({"aer": aer, "gold_distance": distance}, rel=1e-6)
    without = gold_metrics(gold_counts(alignment_BTNS[:, :, :1], *lengths, gold).sum(axis=0))
    assert found["aer"] < without["aer"]


def test_sentences_count_the_same_whatever_their_padding():
    alignment_BTNS, *lengths, gold = corpus()
    parts = [slice(0, 5), slice(5, 5), slice(5, None)]  # also a batch without known links
    batches = [
        gold_counts(
            np.pad(alignment_BTNS[part], ((0, 0), (0, i), (0, 0), (0, i))),
            *(length[part] for length in lengths),
            gold[part],
        )
        for i, part in enumerate(parts)
    ]
    whole = gold_counts(alignment_BTNS, *lengths, gold)
    np.testing.assert_allclose(np.concatenate(batches), whole, rtol=1e-12)


def one_sentence(alignment_TS, gold):
    """Three source and two target words, no end tokens."""
    alignment_BTNS = np.array(alignment_TS)[None, :, None]
    return gold_metrics(gold_counts(alignment_BTNS, np.array([3]), np.array([2]), [gold])[0])


def test_extremes_and_repeated_links():
    gold = [[0, 0], [1, 1], [1, 1]]  # as JSON gives them, with one twice
    assert one_sentence([[1.0, 0, 0], [0, 1, 0]], gold) == {"aer": 0.0, "gold_distance": 0.0}
    assert one_sentence([[0.0, 0, 1], [1, 0, 0]], gold) == {"aer": 1.0, "gold_distance": 1.5}


def test_distance_by_hand():
    # From word 0: 0.2 x 1 + 0.3 x 2. From word 2, and for the same target word from word 1:
    # 0.1 x 2 + 0.4 x 1 and 0.1 x 1 + 0.5 x 1.
    alignment = [[0.5, 0.2, 0.3], [0.1, 0.4, 0.5]]
    found = one_sentence(alignment, [(0, 0), (2, 1), (1, 1)])
    assert found["gold_distance"] == pytest.approx((0.8 + 0.6 + 0.6) / 3)
    assert found["aer"] == pytest.approx(1 - 2 * 2 / (2 + 3))


def test_links_proposed_where_the_gold_has_none_are_errors():
    assert one_sentence([[1.0, 0, 0], [0, 1, 0]], []) == {"aer": 1.0}


def test_no_links_at_all():
    assert one_sentence([[0.0, 0, 0], [0, 0, 0]], []) == {}
    with pytest.raises(InputError, match="without links"):
        alignment_error_rate(0, 0, 0)
