import json

import numpy as np
import pytest

from seq2seq_jax.evaluation import metrics
from seq2seq_jax.evaluation.bootstrap import RESAMPLES
from seq2seq_jax.reports import plots, tested
from seq2seq_jax.reports.paper import Paper
from seq2seq_jax.reports.report import write_report
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.reports.significance import compare_with_baseline
from seq2seq_jax.reports.tables import make_table
from tests.reports import fake_sweep

TER = {"b": 1.0, "c": 60.0}
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


def corpus_scores(hypotheses, references) -> dict[str, float]:
    return metrics.corpus_scores(hypotheses, [(text,) for text in references])


def sweep(folder, **hypotheses):
    """A sweep whose cells have these hypotheses for each seed, against the fixture's references."""
    fake_sweep.write_sweep(folder, {name: {} for name in hypotheses})
    for name, seeds in hypotheses.items():
        for seed, texts in enumerate(seeds):
            run = folder / name / f"seed{seed}"
            final = {"test/exact_match": 0.5, "test/ter": TER.get(name, 50.0)}
            fake_sweep.write_run(run, hypotheses=texts, final=final, done=fake_sweep.done())
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
        ("b", "token_error_rate"),
        ("b", "sequence_error_rate"),
    ]
    for comparison in comparisons:
        metric = comparison.metric
        expected = corpus_scores(better, many)[metric] - corpus_scores(worse, many)[metric]
        assert comparison.difference == pytest.approx(expected, rel=1e-9)
        sign = -1 if metric.endswith("error_rate") else 1
        limits = sorted((sign * comparison.low, sign * comparison.high))
        assert 0 < limits[0] < sign * comparison.difference < limits[1]
        assert comparison.p == pytest.approx(2 / (RESAMPLES + 1))


def test_what_takes_long_to_count_is_compared_where_the_table_shows_it(tmp_path, many):
    worse, better = spoilt(many, 0.5, 0), spoilt(many, 0.8, 1)
    results = sweep(tmp_path, a=[worse], b=[better])
    found = {item.metric: item for item in compare_with_baseline(results, ["ter", "seconds"])}
    of_beams = compare_with_baseline(results, ["ter_beam"])  # where a column has it alone
    assert found["ter"] in of_beams
    assert {"ter", "bleu"} < set(found)
    assert "chrf" not in found
    scores = [
        metrics.corpus_scores(texts, [(text,) for text in many], ["ter"])["ter"]
        for texts in (worse, better)
    ]
    assert found["ter"].difference == pytest.approx(scores[1] - scores[0], rel=1e-9)
    assert found["ter"].low < found["ter"].difference < found["ter"].high < 0
    (tmp_path / "table.py").write_text('ROWS = {}\nCOLUMNS = ("ter",)')
    report = write_report(tmp_path, formats=[], paper=tmp_path)
    assert [(item.metric, item.p) for item in report.table.differences] == [("ter", found["ter"].p)]


def test_beam_search_is_compared_with_beam_search(tmp_path, many):
    """A cell without it has no such comparison."""
    texts = {"a": spoilt(many, 0.5, 0), "b": spoilt(many, 0.6, 1), "c": spoilt(many, 0.7, 2)}
    beams = {"a": spoilt(many, 0.6, 3), "b": spoilt(many, 0.9, 4), "c": None}
    fake_sweep.write_sweep(tmp_path, {name: {} for name in texts}, seeds=(0,))
    for name, greedy in texts.items():
        run = tmp_path / name / "seed0"
        fake_sweep.write_run(run, hypotheses=greedy, beam=beams[name], done=fake_sweep.done())
    found = compare_with_baseline(read_results(tmp_path))
    names = ("exact_match", "bleu", "token_error_rate", "sequence_error_rate")
    assert [(item.cell, item.metric) for item in found] == [
        *((cell, name) for cell in ("b", "c") for name in names),
        *(("b", f"{name}_beam") for name in names),
    ]
    for item, made in ((found[1], texts), (found[9], beams)):
        scores = [corpus_scores(made[name], many)["bleu"] for name in ("a", "b")]
        assert item.difference == pytest.approx(scores[1] - scores[0], rel=1e-9)


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
    assert results.not_compared == {"b": "tested on other sentences"}
    # Nor are its seeds with the baseline's, whose test was another, and it is best of nothing.
    table = make_table(
        results, compare_with_baseline(results), Paper(columns=("exact_match", "ter"))
    )
    assert {item.cell for item in table.differences} == {"c"}
    assert [row.values["ter"].best for row in table.rows] == [True, False, False]
    assert "Not compared with a (tested on other sentences): b" in table.notes


def test_a_baseline_whose_seeds_saw_different_tests_compares_nothing(tmp_path, many):
    results = sweep(tmp_path, a=[many, many[:-1]], b=[many], c=[])
    assert compare_with_baseline(results) == []
    reason = "the baseline's seeds were tested on different sentences"
    assert results.not_compared == {"b": reason}


@pytest.mark.parametrize(
    ("lost", "compared", "note"),
    [
        ("b", {"c"}, "No bootstrap against a (not every seed has predictions): b"),
        (
            "a",
            set(),
            "No bootstrap against a (the baseline's seeds do not all have predictions): b, c",
        ),
    ],
)
def test_a_seed_without_predictions_is_no_smaller_mean(tmp_path, many, lost, compared, note):
    """The table's mean would be of two seeds, and the test beside it of one."""
    texts = [spoilt(many, 0.5, 0), spoilt(many, 0.6, 1)]
    results = sweep(tmp_path, a=texts, b=texts, c=texts)
    (tmp_path / lost / "seed1" / "predictions" / "test.jsonl").unlink()
    comparisons = compare_with_baseline(results)
    assert {item.cell for item in comparisons} == compared
    table = make_table(results, comparisons)
    assert note in table.notes
    assert table.missing == [f"No translations of the test: {lost}, seed 1"]


def test_tests_over_seeds_need_no_predictions(tmp_path, many):
    results = sweep(tmp_path, a=[many] * 2, b=[many] * 2)
    for seed, bleu in enumerate((20.0, 22.0)):
        for cell, more in (("a", 0.0), ("b", 9.0)):
            with (tmp_path / cell / f"seed{seed}" / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": 401, "test/bleu": bleu + more}) + "\n")
    (tmp_path / "b" / "seed1" / "predictions" / "test.jsonl").unlink()
    results = read_results(tmp_path)
    table = make_table(results, compare_with_baseline(results))
    (bleu,) = (item for item in table.differences if item.metric == "bleu")
    assert (bleu.p, bleu.p_seeds is None) == (None, False)


def test_lost_predictions_of_beam_search_leave_the_greedy_ones(tmp_path, many):
    results = sweep(tmp_path, a=[many] * 2, b=[many] * 2)
    for name in ("a/seed0", "a/seed1", "b/seed0"):
        folder = tmp_path / name / "predictions"
        (folder / "test.beam.jsonl").write_text((folder / "test.jsonl").read_text())
    assert {item.metric for item in compare_with_baseline(results)} >= {"bleu"}
    assert results.not_compared == {"b": "not every seed has predictions of beam search"}
    table = make_table(results, compare_with_baseline(results))
    assert {item.metric for item in table.differences if item.p is not None} >= {"exact_match"}


def test_nothing_to_compare_with(tmp_path):
    fake_sweep.write_sweep(tmp_path, {"a": {}, "b": {}})
    fake_sweep.write_run(tmp_path / "b" / "seed0", hypotheses=["x"], done=fake_sweep.done())
    results = read_results(tmp_path)
    assert compare_with_baseline(results) == []
    assert results.not_compared == {"b": "the baseline has no finished run"}


def test_the_test_is_counted_once(tmp_path, many, monkeypatch):
    """For the bootstrap and for the plots: it takes most of a report's time."""
    results = sweep(tmp_path, a=[many], b=[many])
    calls = []
    count = tested.sentence_statistics
    monkeypatch.setattr(
        tested, "sentence_statistics", lambda *given: calls.append(1) or count(*given)
    )
    compare_with_baseline(results)
    assert plots.scores_by_length(results) is not None
    assert len(calls) == 2
