import json
import math
import statistics

import pytest
from scipy.stats import ttest_ind

from seq2seq_jax.reports import formats
from seq2seq_jax.reports.differences import Value, differences, welch
from seq2seq_jax.reports.grids import printed
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.reports.significance import Comparison, compare_with_baseline
from seq2seq_jax.reports.tables import make_table
from tests.reports import fake_sweep
from tests.reports.small_tables import one_metric


def value(*seeds):
    sd = statistics.stdev(seeds) if len(seeds) > 1 else None
    return Value(statistics.fmean(seeds), sd, len(seeds))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([1.0, 2.0], [3.0, 9.0]),
        ([10.0, 10.5, 11.0, 9.0, 10.1], [8.0, 9.5, 7.5]),
        ([5.0, 5.0, 5.1], [4.0, 5.5]),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]),
    ],
)
def test_welch_is_that_of_scipy(ours, theirs):
    expected = ttest_ind(ours, theirs, equal_var=False).pvalue
    assert welch(value(*ours), value(*theirs)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_welch_hangs_on_no_unit(unit):
    """A diverged run's perplexity has a square that is no float."""
    ours, theirs = Value(2.0, 1.0, 3), Value(5.0, 2.0, 4)
    scaled = (Value(one.mean * unit, one.sd * unit, one.n) for one in (ours, theirs))
    assert welch(*scaled) == pytest.approx(welch(ours, theirs), rel=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([1.0], [2.0, 3.0]),
        ([1.0, 2.0], [3.0]),
        ([1.0, 1.0], [2.0, 2.0]),
        ([1.0, 2.0], [math.inf] * 2),
    ],
)
def test_without_a_spread_there_is_no_test(ours, theirs):
    with_sd = [
        Value(seeds[0], 0.0 if seeds[0] < math.inf else math.nan, 2)
        if len(set(seeds)) == 1 and len(seeds) == 2
        else value(*seeds)
        for seeds in (ours, theirs)
    ]
    assert welch(*with_sd) is None


def test_differences_are_ours_minus_theirs_in_the_columns_unit():
    ours = {"exact_match": value(60.0, 62.0), "perplexity": value(3.0), "parameters": value(9.0)}
    theirs = {"exact_match": value(50.0, 51.0), "perplexity": value(2.0), "parameters": value(8.0)}
    tested = [
        Comparison("b", "exact_match", 0.105, 0.05, 0.15, 0.002),
        Comparison("c", "perplexity", 9.0, 9.0, 9.0, 9.0),
    ]
    metrics = ("exact_match", "perplexity", "bleu")
    exact, perplexity = differences("b", ours, theirs, metrics, tested)
    assert exact[:6] == pytest.approx(("b", "exact_match", 10.5, 5.0, 15.0, 0.002))
    assert exact.p_seeds == pytest.approx(ttest_ind([60, 62], [50, 51], equal_var=False).pvalue)
    assert perplexity == ("b", "perplexity", 1.0, None, None, None, None)


def test_both_tests_stand_in_the_report(tmp_path):
    folder = fake_sweep.quickstart(tmp_path)
    results = read_results(folder)
    table = make_table(results, compare_with_baseline(results))
    by_metric = {item.metric: item for item in table.differences}
    assert list(by_metric) == ["exact_match", "bleu", "perplexity", "perplexity_free"]
    p = ttest_ind([80, 90], [50, 60], equal_var=False).pvalue
    assert by_metric["exact_match"].p_seeds == pytest.approx(p)
    lines = formats.markdown(printed(table)).splitlines()
    title = "| cell | perplexity (forced), difference from score=none | p (seeds) |"
    assert lines[lines.index(title) + 2] == f"| score=general | -0.300 | {p:.3f} |"
    assert any("| 95% interval | p (sentences) | p (seeds) |" in line for line in lines)
    assert any(line.startswith("- ‡ differs from the baseline score=none") for line in lines)
    # AER has no baseline: score=none does not attend.
    assert not any("AER (%), difference" in line for line in lines)


def test_marks_tell_the_two_tests_apart(tmp_path):
    fake_sweep.write_sweep(tmp_path, {"a": {}, "b": {}, "c": {}}, seeds=(0, 1, 2))
    for name, seeds in (("a", (0.1, 0.2, 0.3)), ("b", (0.7, 0.8, 0.9)), ("c", (0.2, 0.3, 0.1))):
        for seed, score in enumerate(seeds):
            run = tmp_path / name / f"seed{seed}"
            final = {"test/exact_match": score}
            fake_sweep.write_run(run, final=final, done=fake_sweep.done())
    results = read_results(tmp_path)
    comparisons = [Comparison(cell, "exact_match", 0.1, 0.05, 0.15, 0.01) for cell in "bc"]
    text = formats.markdown(printed(make_table(results, comparisons)))
    assert "| b | **80.0 ± 10.0 † ‡** |" in text
    assert "| c | 20.0 ± 10.0 † |" in text
    latex = formats.latex(printed(make_table(results, comparisons)))
    assert r"\textbf{80.0 $\pm$ 10.0 $^\dagger$ $^\ddagger$}" in latex


def test_seeds_that_are_all_equal_have_no_test(tmp_path):
    """Three times 99.9, whose mean and deviation are not 99.9 and 0 in binary numbers."""
    folder = one_metric(tmp_path, "exact_match", a=[1.0] * 3, b=[0.999] * 3)
    table = make_table(read_results(folder), [])
    assert table.differences == []
    assert table.rows[1].values["exact_match"][:3] == (99.9, 0.0, 3)


def test_searches_of_the_same_trainings_have_no_test_over_seeds(tmp_path):
    folder = one_metric(tmp_path, "bleu", a=[20.0, 22.0], b=[20.3, 22.3], c=[29.0, 30.0])
    for beam, name in enumerate("ab", start=5):
        for seed in (0, 1):
            path = folder / name / f"seed{seed}" / "config.json"
            config = json.loads(path.read_text()) | {"evaluation": {"beam": beam}, "data": {}}
            path.write_text(json.dumps(config))
    table = make_table(read_results(folder), [])
    assert [item.cell for item in table.differences] == ["c"]
    note = "No test over seeds (the same trainings as a, searched otherwise): b"
    assert note in table.notes
