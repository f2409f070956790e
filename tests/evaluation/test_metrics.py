import logging
import math
from collections import Counter

import numpy as np
import pytest

from seq2seq_jax.evaluation import metrics
from seq2seq_jax.types import InputError

HYPOTHESES = ["the cat sat on the mat .", "a dog", "she is not a tall student .", ""]
REFERENCES = ["the cat sat on a mat .", "a dog", "she is a very tall student .", "i am here ."]


def papineni(hypotheses: list[str], references: list[str]) -> float:
    """Equations of Papineni et al. 2002, sections 2.2-2.3, over words; no smoothing."""
    matched, proposed = [0] * 4, [0] * 4
    hypothesis_length = reference_length = 0
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        h, r = hypothesis.split(), reference.split()
        hypothesis_length, reference_length = hypothesis_length + len(h), reference_length + len(r)
        for n in range(1, 5):
            grams = Counter(tuple(h[i : i + n]) for i in range(len(h) - n + 1))
            allowed = Counter(tuple(r[i : i + n]) for i in range(len(r) - n + 1))
            matched[n - 1] += sum(min(count, allowed[gram]) for gram, count in grams.items())
            proposed[n - 1] += sum(grams.values())
    brevity = min(1.0, math.exp(1 - reference_length / hypothesis_length))
    logs = [math.log(m / p) for m, p in zip(matched, proposed, strict=True)]
    return 100 * brevity * math.exp(sum(logs) / 4)


def test_bleu_is_the_papers_formula():
    assert metrics.corpus_scores(HYPOTHESES, REFERENCES)["bleu"] == pytest.approx(
        papineni(HYPOTHESES, REFERENCES), rel=1e-12
    )


def test_exact_match_is_a_fraction_and_strict():
    assert metrics.corpus_scores(HYPOTHESES, REFERENCES)["exact_match"] == 0.25
    assert metrics.corpus_scores(["A dog", "a  dog"], ["a dog", "a dog"])["exact_match"] == 0.0


def test_perfect_and_hopeless():
    perfect = metrics.corpus_scores(REFERENCES, REFERENCES)
    assert perfect == pytest.approx({"exact_match": 1.0, "bleu": 100.0, "chrf": 100.0})
    assert metrics.corpus_scores(["xyz"], ["abc"]) == {"exact_match": 0.0, "bleu": 0.0, "chrf": 0.0}


def test_chrf_of_one_character_by_hand():
    # chrF averages precision and recall over the character n-gram orders both sides have: 1..2.
    # "ab" against "ac": order 1 has 1 of 2 right both ways, order 2 has 0 of 1: P = R = F = 1/4.
    assert metrics.corpus_scores(["ab"], ["ac"])["chrf"] == pytest.approx(25.0)


def test_statistics_add_up_to_corpus_bleu():
    statistics = metrics.bleu_statistics(HYPOTHESES, REFERENCES)
    assert statistics.shape == (4, 10)
    assert statistics[1].tolist() == [2, 1, 0, 0, 2, 1, 0, 0, 2, 2]
    assert statistics[3].tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 4]
    for rows in ([0, 1, 2, 3], [0, 0, 2], [1, 3]):  # also resamples, also without a 4-gram
        expected = metrics.corpus_scores(
            [HYPOTHESES[i] for i in rows], [REFERENCES[i] for i in rows]
        )["bleu"]
        assert metrics.bleu_from_statistics(statistics[rows].sum(axis=0)) == expected


def test_signatures_say_how():
    signatures = metrics.signatures()
    assert "tok:13a|smooth:exp" in signatures["bleu_signature"]
    assert "nrefs:1" in signatures["bleu_signature"]
    assert "nc:6" in signatures["chrf_signature"]


def test_many_tokenised_periods_do_not_warn(caplog):
    with caplog.at_level(logging.WARNING):
        metrics.corpus_scores(["a dog ."] * 150, ["a dog ."] * 150)
    assert not caplog.records


@pytest.mark.parametrize(
    "function", [metrics.corpus_scores, metrics.exact_matches, metrics.bleu_statistics]
)
def test_bad_input(function):
    with pytest.raises(InputError, match="empty"):
        function([], [])
    with pytest.raises(InputError, match="2 hypotheses for 1 references"):
        function(["a", "b"], ["a"])


def test_exact_matches_by_sentence():
    np.testing.assert_array_equal(
        metrics.exact_matches(HYPOTHESES, REFERENCES), [False, True, False, False]
    )
