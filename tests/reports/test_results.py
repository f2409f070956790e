import json

import pytest

from seq2seq_jax.reports import notes
from seq2seq_jax.reports.report import write_report
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.sweeps.claims import claim
from seq2seq_jax.types import InputError
from tests.reports import fake_sweep


def values(frame, **where):
    for name, value in where.items():
        frame = frame[frame[name] == value]
    return frame


def test_finished_sweep(tmp_path):
    results = read_results(fake_sweep.quickstart(tmp_path / "quick"))
    assert results.cells == ["score=none", "score=general"]  # the sweep's order, not the alphabet's
    assert results.baseline == "score=none"
    assert results.command == fake_sweep.COMMAND
    assert list(results.runs["state"]) == ["finished"] * 4
    assert list(results.runs["seconds"]) == [60, 70, 60, 70]
    assert list(results.runs["step"]) == [300] * 4  # the best step
    assert list(results.runs["model.attention.score"]) == ["none", "none", "general", "general"]
    assert results.finished("score=general") == [0, 1]
    finals = values(results.finals, cell="score=general", seed=1, metric="exact_match")
    assert finals["value"].tolist() == [0.9]
    curve = values(results.curves, cell="score=none", seed=0, metric="valid/exact_match")
    assert curve["step"].tolist() == [100, 200, 300, 400]
    assert curve["value"].tolist() == [0.25, 0.375, 0.4375, 0.46875]
    assert not results.curves["metric"].str.startswith("test/").any()
    assert results.environments[0]["versions"]["jax"] == "0.10.2"
    assert len(results.predictions("score=none", 0, "test")) == 6
    assert results.evaluation("score=none", 0, "test")["bleu_signature"] == fake_sweep.SIGNATURE
    assert results.problems == []


def test_half_done_sweep(tmp_path):
    folder = fake_sweep.write_sweep(tmp_path, {"a": {"x.y": 1}, "b": {"x.y": 2}}, seeds=(0, 1, 2))
    fake_sweep.write_run(folder / "a" / "seed0", done=fake_sweep.done())
    fake_sweep.write_run(folder / "a" / "seed1", curve=fake_sweep.curve(0.5)[:3])
    fake_sweep.write_run(folder / "a" / "seed2", failed="Traceback:\n  ...\nInputError: NaN loss\n")
    (folder / "b" / "seed0").mkdir(parents=True)  # started a moment ago
    (folder / "b" / "seed0" / "environment.json").write_text("{}")
    (folder / "b" / "seed1").mkdir(parents=True)  # prepared by the sweep, not started
    (folder / "b" / "seed1" / "config.json").write_text("{}")
    with claim(folder / "b" / "seed0"):
        results = read_results(folder)
    states = ["finished", "stopped", "failed", "running", "missing", "missing"]
    assert list(results.runs["state"]) == states
    assert results.runs["step"].tolist()[1] == 200
    assert results.runs["reason"].tolist()[2] == "InputError: NaN loss"
    assert list(results.runs["x.y"]) == [1, 1, 1, 2, 2, 2]
    assert results.finished("a") == [0]
    assert results.problems == []
    assert results.predictions("a", 1, "test") == []
    assert results.predictions("b", 2, "test") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("error: loss is NaN\n  at step 7\n", "error: loss is NaN at step 7"),
        ("step 3/9\nstep 4/9\nended by signal 9, see log.txt", "ended by signal 9, see log.txt"),
        ("", "no reason was written"),
        ("error: \x1b[2Jgone\x07\n", "error: [2Jgone"),  # nothing that a terminal would obey
        ("\x1b\n", "no reason was written"),
    ],
)
def test_reasons_of_failures(tmp_path, text, reason):
    fake_sweep.write_run(tmp_path / "a" / "seed0", failed=text)
    assert read_results(tmp_path).runs["reason"].tolist() == [reason]


def test_done_counts_more_than_an_old_failure(tmp_path):
    fake_sweep.write_run(tmp_path / "a" / "seed0", failed="disk full", done=fake_sweep.done())
    assert read_results(tmp_path).runs["state"].tolist() == ["finished"]


def test_torn_last_line_is_no_news_but_a_torn_middle_is(tmp_path):
    run = fake_sweep.write_run(tmp_path / "a" / "seed0", curve=fake_sweep.curve(0.5))
    path = run / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"step": 500, "valid/loss": 0.')
    results = read_results(tmp_path)
    assert results.curves["step"].max() == 400
    assert results.problems == []
    path.write_text(whole + '{"step": 500, "valid/loss": 0.\n{"step": 600, "valid/loss": 1.0}\n')
    results = read_results(tmp_path)
    assert results.curves["step"].max() == 600
    assert len(results.problems) == 1
    assert "metrics.jsonl:9: expected a JSON object" in results.problems[0]


def test_a_step_written_twice_counts_once(tmp_path):
    lines = [{"step": 100, "valid/loss": 3.0}, {"step": 100, "valid/loss": 2.0}]
    fake_sweep.write_run(tmp_path / "a" / "seed0", curve=lines)
    assert read_results(tmp_path).curves["value"].tolist() == [2.0]


def test_wrong_lines_are_named(tmp_path):
    lines = [{"valid/loss": 3.0}, {"step": 1, "valid/loss": "low", "valid/bleu": None}]
    fake_sweep.write_run(tmp_path / "a" / "seed0", curve=lines)
    results = read_results(tmp_path)
    assert [problem.split("metrics.jsonl")[1] for problem in results.problems] == [
        ":1: expected a whole number as step; the line is left out",
        ":2: expected a number as valid/loss; it is left out",
    ]
    assert results.curves["metric"].tolist() == ["valid/bleu"]
    assert results.curves["value"].isna().all()


def test_without_sweep_file_the_folders_tell(tmp_path):
    for score, seeds in (("dot", (10, 9)), ("concat", (10,))):
        for seed in seeds:
            fake_sweep.write_run(
                tmp_path / f"score={score}" / f"seed{seed}",
                config={"model": {"attention": {"score": score}}},
                done=fake_sweep.done(),
            )
    (tmp_path / "figures").mkdir()
    results = read_results(tmp_path)
    assert results.cells == ["score=concat", "score=dot"]
    assert results.runs["seed"].tolist() == [10, 9, 10]
    assert results.settings == ["model.attention.score"]  # the seed varies, and is no setting
    assert results.baseline == "score=concat"
    assert results.command == "./launch.sh train"


def test_the_name_that_a_cell_gives_itself_is_no_setting(tmp_path):
    ratio = "teacher_forcing.ratio"
    cells = {"half": {"sweep.cell": "half", ratio: 0.5}, "all": {"sweep.cell": "all", ratio: 1.0}}
    results = read_results(fake_sweep.write_sweep(tmp_path, cells, seeds=(0,)))
    assert results.cells == ["half", "all"]
    assert results.settings == [ratio]
    assert results.runs[ratio].tolist() == [0.5, 1.0]


def test_baseline_of_the_config(tmp_path):
    for cell in ("a", "b"):
        config = {"sweep": {"baseline": "b"}}
        fake_sweep.write_run(tmp_path / cell / "seed0", config=config, done=fake_sweep.done())
    assert read_results(tmp_path).baseline == "b"


def test_unknown_baseline_is_a_problem_not_an_end(tmp_path):
    fake_sweep.write_sweep(tmp_path, {"a": {}}, baseline="z")
    results = read_results(tmp_path)
    assert results.baseline == "a"
    assert results.problems == ["the baseline 'z' of sweep.json is no cell"]


def test_another_baseline_by_name(tmp_path):
    fake_sweep.write_sweep(tmp_path, {"score=none": {}, "score=general": {}})
    assert read_results(tmp_path, "score=general").baseline == "score=general"
    with pytest.raises(InputError, match=r"baseline score=genral: .* did you mean score=general\?"):
        read_results(tmp_path, "score=genral")


def test_single_run(tmp_path):
    fake_sweep.write_run(
        tmp_path / "mine",
        final={"test/bleu": 12.0},
        done=fake_sweep.done(),
        config={"seed": 7, "sweep": {"baseline": "other"}},
    )
    results = read_results(tmp_path / "mine")
    assert results.cells == ["mine"]
    assert results.finished("mine") == [7]
    assert results.finals["value"].tolist() == [12.0]
    assert results.problems == []


def test_damaged_files_are_named(tmp_path):
    fake_sweep.write_sweep(tmp_path, {"a": {}}, seeds=(0,))
    run = fake_sweep.write_run(tmp_path / "a" / "seed0", done=fake_sweep.done())
    (run / "environment.json").write_text("[1]")
    (run / "config.json").write_text('{"seed": ')
    results = read_results(tmp_path)
    assert any("config.json: expected JSON" in problem for problem in results.problems)
    assert any("expected a JSON object, found list" in problem for problem in results.problems)


LINE = fake_sweep.line(0, fake_sweep.SENTENCES[0], "i am")


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("sweep.json", {"cells": ["a"], "seeds": [0]}, "cells has another form"),
        ("sweep.json", {"cells": [{"name": "a"}], "seeds": [0]}, "cells has another form"),
        ("sweep.json", {"cells": [{"name": "a", "overrides": {}}], "seeds": 3}, "seeds has"),
        ("a/seed0/DONE", {"best_step": 3, "parameters": "many"}, "parameters has another form"),
        ("a/seed0/environment.json", {"device": "x", "devices": "2"}, "devices has another form"),
        ("a/seed0/environment.json", {"versions": None}, "versions has another form"),
        ("a/seed0/ensemble.json", {"members": None}, "members has another form"),
        ("a/seed0/predictions/test.jsonl", {"index": 0, "hypothesis": "x"}, "1 lines of another"),
        ("a/seed0/predictions/show.jsonl", {"index": 0, "source": "x"}, "1 lines of another"),
        ("a/seed0/predictions/test.jsonl", LINE | {"reference": None}, "1 lines of another"),
        ("a/seed0/predictions/test.jsonl", LINE | {"references": []}, "1 lines of another"),
        ("a/seed0/predictions/test.jsonl", LINE | {"references": "abc"}, "1 lines of another"),
        ("a/seed0/predictions/test.jsonl", LINE | {"alignment": [[1.0]]}, "1 lines of another"),
        ("a/seed0/predictions/test.jsonl", LINE | {"alignment": [None]}, "1 lines of another"),
        ("a/seed0/predictions/test.jsonl", LINE | {"gold": [1, 2]}, "1 lines of another"),
        ("a/seed0/predictions/show.jsonl", LINE | {"source_tokens": []}, "1 lines of another"),
        ("a/seed0/metrics.jsonl", {"step": 10**30, "valid/loss": 1.0}, "whole number as step"),
        ("a/seed0/metrics.jsonl", {"step": 1, "valid/loss": 10**400}, "expected a number as"),
    ],
)
def test_files_of_another_form_end_no_report(tmp_path, monkeypatch, file, content, problem):
    """Of another version, or edited: what cannot be used is left out and named."""
    fake_sweep.write_sweep(tmp_path, {"a": {}}, seeds=(0,))
    fake_sweep.write_run(tmp_path / "a" / "seed0", hypotheses=["x"], done=fake_sweep.done())
    (tmp_path / file).write_text(json.dumps(content) + "\n")
    monkeypatch.setattr("seq2seq_jax.reports.report.PICTURES", ())
    report = write_report(tmp_path)
    (told,) = report.table.missing
    assert told.startswith(f"Not read: {tmp_path / file}:") and problem in told
    assert report.results.finished("a") == [0]
    assert told in report.console


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("sweep.json", {"cells": [{"name": "b", "overrides": {"seed": 1}}]}),
        ("a/seed0/config.json", {"evaluation": {"modes": 3}}),
        ("a/seed0/DONE", {**fake_sweep.done(), "members": "x"}),
        ("a/seed1/claim.json", []),
        ("a/seed1/claim.json", {"pid": 3}),
    ],
)
def test_what_is_not_read_there_ends_no_report_either(tmp_path, monkeypatch, file, content):
    fake_sweep.write_sweep(tmp_path, {"a": {}, "b": {}})
    for cell in "ab":
        run = tmp_path / cell / "seed0"
        fake_sweep.write_run(run, hypotheses=["x"], done=fake_sweep.done())
    fake_sweep.write_run(tmp_path / "a" / "seed1")
    (tmp_path / file).write_text(json.dumps(content) + "\n")
    monkeypatch.setattr("seq2seq_jax.reports.report.PICTURES", ())
    assert write_report(tmp_path).results.finished("a") == [0]


def test_a_finished_run_without_metrics_is_named(tmp_path):
    fake_sweep.quickstart(tmp_path)
    (tmp_path / "score=none" / "seed1" / "metrics.jsonl").unlink()
    results = read_results(tmp_path)
    assert notes.missing(results) == ["No metrics of the test: score=none, seed 1"]


def test_not_a_results_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_results(tmp_path / "none")
    (tmp_path / "seed0").mkdir()
    (tmp_path / "notes.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="neither a sweep"):
        read_results(tmp_path)
