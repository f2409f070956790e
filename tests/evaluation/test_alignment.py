import numpy as np
import pytest

from seq2seq_jax.evaluation.alignment import aer_counts, alignment_error_rate, hard_links
from seq2seq_jax.types import InputError


def och_ney(proposed: set, sure: set, possible: set) -> float:
    """Och & Ney 2003, the alignment error rate, as printed."""
    return 1 - (len(proposed & sure) + len(proposed & possible)) / (len(proposed) + len(sure))


def test_links_are_the_greatest_weights():
    alignment = np.array(
        [
            [0.7, 0.2, 0.1],
            [0.1, 0.2, 0.7],  # on the source's end token: no link
            [0.3, 0.4, 0.3],
            [0.9, 0.1, 0.0],  # the row of the target's end token
        ]
    )
    assert hard_links(alignment, source_words=2, target_words=3) == {(0, 0), (1, 2)}


def test_a_row_without_weight_links_to_nothing():
    assert hard_links(np.zeros((3, 4)), 3, 2) == set()


def test_equal_weights_take_the_first():
    assert hard_links(np.full((1, 3), 1 / 3), 2, 1) == {(0, 0)}


def test_a_translation_without_end_token_keeps_all_rows():
    assert hard_links(np.eye(3), source_words=3, target_words=3) == {(0, 0), (1, 1), (2, 2)}


def test_empty_sentences():
    assert hard_links(np.zeros((1, 1)), 0, 0) == set()
    assert hard_links(np.zeros((0, 0)), 0, 0) == set()


@pytest.mark.parametrize(("source", "target"), [(4, 2), (3, 3)])
def test_too_many_words_for_the_array(source, target):
    with pytest.raises(InputError, match="2 target x 3 source"):
        hard_links(np.zeros((2, 3)), source, target)


def test_corpus_rate_is_the_papers_formula():
    rng = np.random.default_rng(0)
    sums = np.zeros(3, dtype=int)
    all_links, all_gold = set(), set()
    for sentence in range(20):
        links = {(int(s), int(t)) for s, t in rng.integers(0, 5, (6, 2))}
        gold = {(int(s), int(t)) for s, t in rng.integers(0, 5, (8, 2))}
        counts = aer_counts(links, gold)
        assert alignment_error_rate(*counts) == pytest.approx(och_ney(links, gold, gold), abs=1e-15)
        sums += counts
        all_links |= {(sentence, *link) for link in links}
        all_gold |= {(sentence, *link) for link in gold}
    expected = och_ney(all_links, all_gold, all_gold)
    assert alignment_error_rate(*sums.tolist()) == pytest.approx(expected, abs=1e-15)


def test_extremes_and_repeated_links():
    gold = [[0, 0], [1, 1], [1, 1]]  # as JSON gives them, with one twice
    assert aer_counts({(0, 0), (1, 1)}, gold) == (2, 2, 2)
    assert alignment_error_rate(2, 2, 2) == 0.0
    assert alignment_error_rate(0, 3, 2) == 1.0
    assert alignment_error_rate(0, 0, 2) == 1.0


def test_no_links_at_all():
    with pytest.raises(InputError, match="without links"):
        alignment_error_rate(0, 0, 0)
