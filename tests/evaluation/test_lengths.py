"""Scores by the length of the source, against scores of the sentences that a bin holds."""

import pytest

from seq2seq_jax.evaluation.lengths import COUNTS, by_length, length_bins, source_words
from seq2seq_jax.evaluation.metrics import corpus_scores, sentence_statistics

WORDS = [1, 3, 9, 2, 3]  # of the sources
HYPOTHESES = ["a b", "a b c d e", "a b c x", "a", "v w x y z"]
REFERENCES = [("a b",), ("a b c d f", "a b c d e f"), ("a b c d",), ("a", "b"), ("v w x y z",)]


@pytest.mark.parametrize(
    ("lengths", "bins"),
    [
        ([3, 4, 5], [(3, 3), (4, 4), (5, 5)]),
        ([1, 8], [(i, i) for i in range(1, 9)]),
        ([1, 9], [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]),
        ([4, 40], [(i + 1, i + 5) for i in range(0, 40, 5)]),
        ([7], [(7, 7)]),
    ],
)
def test_length_bins(lengths, bins):
    assert length_bins(lengths) == bins


def test_every_bin_is_scored_as_a_set_of_its_own():
    lines = by_length(sentence_statistics(HYPOTHESES, REFERENCES, COUNTS), WORDS)
    assert [(line["words"], line["sentences"]) for line in lines] == [
        ([1, 2], 2),
        ([3, 4], 2),
        ([9, 10], 1),
    ]
    for line, inside in zip(lines, ([0, 3], [1, 4], [2]), strict=True):
        expected = corpus_scores(*([part[i] for i in inside] for part in (HYPOTHESES, REFERENCES)))
        for metric in ("exact_match", "token_error_rate"):
            assert line[metric] == expected[metric]
    assert lines[0]["bleu"] is None  # no hypothesis of four words
    assert lines[1]["bleu"] == pytest.approx(
        corpus_scores([HYPOTHESES[1], HYPOTHESES[4]], [REFERENCES[1], REFERENCES[4]])["bleu"]
    )


def test_the_end_token_is_no_word():
    assert source_words(["a", "b", "</s>"]) == source_words(["a", "b"]) == 2
