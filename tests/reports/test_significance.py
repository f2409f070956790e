import numpy as np
import pytest

from seq2seq_jax.evaluation.metrics import bleu_statistics, corpus_scores, exact_matches
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.reports.significance import (
    RESAMPLES,
    System,
    bootstrap,
    compare_with_baseline,
    resampled_scores,
    resamples,
)
from tests.reports import fake_sweep

WORDS = [f"word{i}" for i in range(12)]


def corpus(sentences: int, share: float, seed: int) -> tuple[list[str], list[str]]:
    """Random references, and hypotheses of which about `share` are right, others one word off."""
    generator = np.random.default_rng(seed)
    references = [" ".join(generator.choice(WORDS, 7)) for _ in range(sentences)]
    hypotheses = [
        text if generator.random() < share else text.rsplit(" ", 1)[0] + " wrong"
        for text in references
    ]
    return hypotheses, references


def system(hypotheses, references) -> System:
    matches = exact_matches(hypotheses, references).astype(np.int64)
    return System([], matches, bleu_statistics(hypotheses, references))


def test_every_resample_is_scored_like_a_corpus():
    hypotheses, references = corpus(30, 0.5, seed=0)
    times_RN = resamples(30)
    assert times_RN.shape == (RESAMPLES + 1, 30)
    assert (times_RN[0] == 1).all()
    assert (times_RN.sum(axis=1) == 30).all()
    scores = resampled_scores(system(hypotheses, references), times_RN)
    for r in (0, 1, 7):
        drawn = np.repeat(np.arange(30), times_RN[r].astype(int))
        expected = corpus_scores([hypotheses[i] for i in drawn], [references[i] for i in drawn])
        assert scores["bleu"][r] == pytest.approx(expected["bleu"], rel=1e-12)
        assert scores["exact_match"][r] == pytest.approx(expected["exact_match"], abs=1e-12)


def test_draws_are_uniform_with_replacement():
    times_RN = resamples(50)[1:]
    # Times drawn are Binomial(50, 1/50): mean 1, variance 0.98; 50,000 of them.
    assert times_RN.mean() == 1
    assert times_RN.var() == pytest.approx(0.98, rel=0.05)
    np.testing.assert_allclose(times_RN.mean(axis=0), 1, atol=5 * np.sqrt(0.98 / RESAMPLES))


def test_draws_are_the_same_each_time():
    np.testing.assert_array_equal(resamples(20), resamples(20))
    assert (resamples(20, seed=1) != resamples(20)).any()


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


def sweep(folder, **hypotheses):
    """A sweep whose cells have these hypotheses for each seed, against the fixture's references."""
    fake_sweep.write_sweep(folder, {name: {} for name in hypotheses})
    for name, seeds in hypotheses.items():
        for seed, texts in enumerate(seeds):
            run = folder / name / f"seed{seed}"
            fake_sweep.write_run(run, hypotheses=texts, done=fake_sweep.done())
    return read_results(folder)


@pytest.fixture
def many(monkeypatch):
    """200 test sentences rather than 6."""
    _, references = corpus(200, 1.0, seed=5)
    monkeypatch.setattr(fake_sweep, "SENTENCES", [(text, text, []) for text in references])
    return references


def spoilt(references, share, seed):
    generator = np.random.default_rng(seed)
    return [text if generator.random() < share else f"{text} wrong" for text in references]


def test_identical_systems_do_not_differ(tmp_path, many):
    texts = spoilt(many, 0.5, 0)
    for comparison in compare_with_baseline(sweep(tmp_path, a=[texts], b=[texts])):
        assert (comparison.difference, comparison.low, comparison.high) == (0, 0, 0)
        assert comparison.p == 1.0


def test_equally_good_systems_do_not_differ(tmp_path, many):
    results = sweep(tmp_path, a=[spoilt(many, 0.5, 0)], b=[spoilt(many, 0.5, 3)])
    for comparison in compare_with_baseline(results):
        assert comparison.p > 0.1
        assert comparison.low < 0 < comparison.high


def test_a_clearly_better_system_differs(tmp_path, many):
    worse, better = spoilt(many, 0.5, 0), spoilt(many, 0.8, 1)
    comparisons = compare_with_baseline(sweep(tmp_path, a=[worse], b=[better]))
    assert [(item.cell, item.metric) for item in comparisons] == [
        ("b", "exact_match"),
        ("b", "bleu"),
    ]
    for comparison in comparisons:
        metric = comparison.metric
        expected = corpus_scores(better, many)[metric] - corpus_scores(worse, many)[metric]
        assert comparison.difference == pytest.approx(expected, rel=1e-9)
        assert 0 < comparison.low < comparison.difference < comparison.high
        assert comparison.p == pytest.approx(2 / (RESAMPLES + 1))


def test_seeds_are_averaged(tmp_path, many):
    a, b = spoilt(many, 0.5, 0), [spoilt(many, 0.6, 1), spoilt(many, 0.9, 2)]
    comparison = compare_with_baseline(sweep(tmp_path, a=[a], b=b))[1]
    mean = np.mean([corpus_scores(texts, many)["bleu"] for texts in b])
    assert comparison.difference == pytest.approx(mean - corpus_scores(a, many)["bleu"])


def test_exactly_the_same_again(tmp_path, many):
    results = sweep(tmp_path, a=[spoilt(many, 0.5, 0)], b=[spoilt(many, 0.55, 1)])
    assert compare_with_baseline(results) == compare_with_baseline(results)


def test_the_order_of_the_lines_does_not_matter(tmp_path, many):
    results = sweep(tmp_path, a=[spoilt(many, 0.5, 0)], b=[spoilt(many, 0.6, 1)])
    before = compare_with_baseline(results)
    path = tmp_path / "b" / "seed0" / "predictions" / "test.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())) + "\n")
    assert compare_with_baseline(results) == before
    assert not results.problems


def test_other_test_sentences_are_not_compared(tmp_path, many):
    results = sweep(tmp_path, a=[many], b=[many[:-1]], c=[many])
    assert {comparison.cell for comparison in compare_with_baseline(results)} == {"c"}
    assert results.problems == ["b was tested on other sentences than a: not compared"]


def test_nothing_to_compare_with(tmp_path):
    fake_sweep.write_sweep(tmp_path, {"a": {}, "b": {}})
    fake_sweep.write_run(tmp_path / "b" / "seed0", hypotheses=["x"], done=fake_sweep.done())
    assert compare_with_baseline(read_results(tmp_path)) == []
