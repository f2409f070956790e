"""Resamples of sentences, against scores of the texts that are drawn."""

import numpy as np
import pytest

from seq2seq_jax.evaluation import metrics
from seq2seq_jax.evaluation.bootstrap import (
    RESAMPLES,
    bootstrap,
    intervals,
    resampled_scores,
    resamples,
)

WORDS = [f"word{i}" for i in range(12)]


def corpus(sentences: int, seed: int = 0) -> tuple[list[str], list[tuple[str, ...]]]:
    """One to three references a sentence; half of the hypotheses are one of them, others near."""
    generator = np.random.default_rng(seed)
    references = [
        tuple(" ".join(generator.choice(WORDS, 7)) for _ in range(generator.integers(1, 4)))
        for _ in range(sentences)
    ]
    hypotheses = [
        own[-1] if i % 2 else own[-1].rsplit(" ", 1)[0] + " wrong"
        for i, own in enumerate(references)
    ]
    return hypotheses, references


def test_every_resample_is_scored_like_a_corpus():
    hypotheses, references = corpus(30)
    counts = tuple(metrics.TEXT_COUNTS)
    times_RN = np.stack(list(resamples(30)))
    assert times_RN.shape == (RESAMPLES + 1, 30)
    assert (times_RN[0] == 1).all()
    assert (times_RN.sum(axis=1) == 30).all()
    statistics = metrics.sentence_statistics(hypotheses, references, counts)
    scores = resampled_scores(statistics, times_RN)
    for r in (0, 1, 7):
        drawn = np.repeat(np.arange(30), times_RN[r].astype(int))
        texts = [hypotheses[i] for i in drawn], [references[i] for i in drawn]
        expected = metrics.corpus_scores(*texts, counts)
        assert {name: scores[name][r] for name in scores} == pytest.approx(expected, rel=1e-12)


def test_draws_are_uniform_with_replacement():
    times_RN = np.stack(list(resamples(50)))[1:]
    # Times drawn are Binomial(50, 1/50): mean 1, variance 0.98; 50,000 of them.
    assert times_RN.mean() == 1
    assert times_RN.var() == pytest.approx(0.98, rel=0.05)
    np.testing.assert_allclose(times_RN.mean(axis=0), 1, atol=5 * np.sqrt(0.98 / RESAMPLES))


def test_draws_are_the_same_each_time():
    np.testing.assert_array_equal(list(resamples(20)), list(resamples(20)))
    assert (np.stack(list(resamples(20, seed=1))) != np.stack(list(resamples(20)))).any()


def test_p_counts_the_resamples_on_the_other_side():
    differences = np.array([1.0] * 96 + [-1.0] * 2 + [0.0])
    # Three of 99 are at or below zero: p = 2 (1 + 3) / (1 + 99).
    assert bootstrap(differences)[2] == pytest.approx(0.08)
    assert bootstrap(-differences)[2] == pytest.approx(0.08)
    assert bootstrap(np.zeros(1000))[2] == 1.0
    assert bootstrap(np.ones(999))[2] == pytest.approx(0.002)


def test_interval_holds_95_percent():
    low, high, _ = bootstrap(np.arange(1001.0))
    assert (low, high) == (25.0, 975.0)


def test_interval_of_a_share_is_about_that_of_the_binomial():
    """Of 400 sentences half are right: 0.5 +- 1.96 sqrt(0.25 / 400)."""
    right_N = np.arange(400) % 2
    statistics = {"matches": np.stack([right_N, np.ones(400)], axis=1)}
    found = intervals(statistics)
    assert found["exact_match"] == pytest.approx([0.451, 0.549], abs=0.006)
    # Right and wrong mirror each other.
    assert found["sequence_error_rate"] == pytest.approx(
        [1 - limit for limit in reversed(found["exact_match"])]
    )
    assert intervals(statistics) == found


def test_intervals_do_not_depend_on_what_else_is_scored():
    hypotheses, references = corpus(40)
    statistics = metrics.sentence_statistics(hypotheses, references, metrics.QUICK)
    alone = intervals({"bleu": statistics["bleu"]})
    assert intervals(statistics)["bleu"] == pytest.approx(alone["bleu"], rel=1e-12)


def test_what_is_not_finite_has_no_interval():
    """One link in the gold: most resamples of four sentences have none, or no distance."""
    statistics = {
        "links": np.array([[1.0, 0, 1, 2], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
        "nats": np.array([[1.0, 2], [2, 2], [1, 2], [1, 1]]),
    }
    found = intervals(statistics)
    assert set(found) == {"loss", "perplexity"}
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]), rel=0.01)
