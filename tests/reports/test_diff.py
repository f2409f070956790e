import csv
import io
import json

import pytest
from scipy.stats import ttest_ind

from seq2seq_jax.reports import formats
from seq2seq_jax.reports.diff import compare_sweeps, diff_csv, printed_diff
from seq2seq_jax.reports.report import write_report
from seq2seq_jax.reports.results import read_results
from tests.reports import fake_sweep

METRICS = ["exact_match", "bleu", "perplexity", "parameters", "seconds"]


@pytest.fixture
def two(tmp_path):
    """The quickstart, and a later one: general is worse, another setting, a cell more."""
    old, new = (fake_sweep.quickstart(tmp_path / name) for name in ("old", "new"))
    fake_sweep.write_sweep(new, {"score=none": {}, "score=general": {}, "score=dot": {}})
    (old / "score=older").mkdir()
    fake_sweep.write_run(old / "score=older" / "seed0", done=fake_sweep.done())
    for seed, exact in ((0, 0.3), (1, 0.5)):
        run = new / "score=general" / f"seed{seed}"
        line = {"step": 500, "test/exact_match": exact}
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        config = json.loads((run / "config.json").read_text())
        config |= {"train": {"learning_rate": 0.1}}
        (run / "config.json").write_text(json.dumps(config))
        path = run / "predictions" / "test.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(x | {"hypothesis": "no"}) + "\n" for x in lines))
    return read_results(new), read_results(old)


def test_cells_of_the_same_name_are_compared(two):
    diff = compare_sweeps(*two, METRICS)
    assert (diff.ours, diff.theirs) == ("new", "old")
    assert {line.difference.cell for line in diff.lines} == {"score=none", "score=general"}
    by_name = {(line.difference.cell, line.difference.metric): line for line in diff.lines}
    same = by_name["score=none", "exact_match"].difference
    assert same[2:6] == (0.0, 0.0, 0.0, 1.0)
    line = by_name["score=general", "exact_match"]
    assert (line.ours.mean, line.theirs.mean) == pytest.approx((40.0, 85.0))
    # From the predictions: no sentence is right, where 5 and 6 of 6 were.
    assert line.difference.difference == pytest.approx(-100 * 11 / 12)
    assert line.difference.high < 0
    p = ttest_ind([30, 50], [80, 90], equal_var=False).pvalue
    assert line.difference.p_seeds == pytest.approx(p)
    assert by_name["score=general", "parameters"].difference.difference == 0
    assert by_name["score=general", "perplexity"].difference.p is None


def test_what_was_set_otherwise_and_what_is_missing_is_said(two):
    diff = compare_sweeps(*two, METRICS)
    assert diff.settings == [
        ("train.learning_rate", "", "0.1", "score=general"),
        ("Seeds", "0, 1 (5 of 5 runs finished)", "0, 1 (4 of 6 runs finished)", "all"),
    ]
    assert diff.notes[:2] == ["Only in new: score=dot", "Only in old: score=older"]
    assert "new: Not started: score=dot, seed 1" in diff.notes
    text = formats.markdown(printed_diff(diff))
    assert "**new minus old**" in text
    assert "| train.learning\\_rate | 0.1 | - | score=general |" in text
    assert "† differs from old at p" in text
    assert "| score=general | 40.0 ± 14.1 † |" in text


@pytest.mark.parametrize(
    ("there", "here", "searched"),
    [
        ({"beam": 1}, {"beam": 5}, True),
        ({"beam": 1}, {"beam": 1}, False),  # another version of the code may have made it
        ({"beam": 1}, {"beam": 1, "block_ngrams": 0}, False),  # which may lack a key
    ],
)
def test_searches_of_the_same_trainings_have_no_test_over_seeds(two, there, here, searched):
    new, old = two
    for side, own in ((new, here), (old, there)):
        for seed in (0, 1):
            path = side.folders["score=none", seed] / "config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"evaluation": own}))
    diff = compare_sweeps(new, old, ["bleu"])
    (found,) = (x for x in diff.lines if x.difference.cell == "score=none")
    assert (found.difference.p_seeds is None) == searched
    note = "score=none: no test over seeds (the same trainings, searched otherwise)"
    assert (note in diff.notes) == searched


def test_metrics_of_one_sweep_alone_are_named(two):
    new, old = two
    for seed in (0, 1):
        metrics = old.folders["score=none", seed] / "metrics.jsonl"
        metrics.write_text(metrics.read_text().replace("test/bleu", "test/bleu_beam"))
    diff = compare_sweeps(new, read_results(old.folder), METRICS)
    notes = [note for note in diff.notes if note.endswith("of score=none")]
    assert notes == ["Only in new: BLEU of score=none", "Only in old: BLEU (beam) of score=none"]


def test_a_setting_of_one_cell_is_not_one_of_all(two):
    """Nor where that cell is the only one that has ended on both sides."""
    new, old = two
    for seed in (0, 1):
        (old.folders["score=none", seed] / "DONE").unlink()
    diff = compare_sweeps(new, read_results(old.folder), METRICS)
    assert {line.difference.cell for line in diff.lines} == {"score=general"}
    assert diff.settings[0] == ("train.learning_rate", "", "0.1", "score=general")


def test_predictions_of_the_other_sweep_that_cannot_be_read_are_named(two):
    new, old = two
    path = old.folders["score=none", 1] / "predictions" / "test.jsonl"
    path.write_text(path.read_text() + "{\n")
    notes = compare_sweeps(new, old, METRICS).notes
    assert [note for note in notes if note.startswith(f"old: Not read: {path}:7")]


def test_other_test_sentences_are_not_tested(two):
    new, old = two
    for seed in (0, 1):
        path = new.folders["score=none", seed] / "predictions" / "test.jsonl"
        path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    diff = compare_sweeps(new, old, METRICS)
    assert "score=none: not tested (tested on other sentences)" in diff.notes
    none = [line.difference for line in diff.lines if line.difference.cell == "score=none"]
    assert all(item.p is None and item.p_seeds is None for item in none)
    assert none[0].difference == 0.0  # the means are still there


def test_the_report_holds_it_in_every_format(two, monkeypatch):
    new, old = two
    monkeypatch.setattr("seq2seq_jax.reports.report.PICTURES", ())
    report = write_report(new.folder, diff=old.folder)
    names = {path.name for path in report.files}
    assert {"diff.md", "diff.csv", "diff.tex", "report.md", "report.html"} <= names
    assert "new minus old" in report.console
    page = (new.folder / "report.html").read_text()
    assert "<h2>new minus old</h2>" in page and "Only in old: score=older" in page
    rows = list(csv.DictReader(io.StringIO((new.folder / "diff.csv").read_text())))
    assert [row["cell"] for row in rows[:2]] == ["score=none"] * 2
    general = next(row for row in rows if row["cell"] == "score=general")
    assert (float(general["ours"]), general["ours n"], float(general["theirs"])) == (40, "2", 85)
    assert float(general["difference"]) == pytest.approx(-100 * 11 / 12)


def test_nothing_in_common(tmp_path):
    results = [
        read_results(fake_sweep.write_sweep(tmp_path / name, {name: {}}, command=""))
        for name in "ab"
    ]
    diff = compare_sweeps(*results, METRICS)
    assert diff.lines == [] and diff_csv(diff).count("\n") == 1
    assert diff.notes[:2] == ["Only in a: a", "Only in b: b"]
    assert formats.console(printed_diff(diff)).startswith("a minus b\n")
