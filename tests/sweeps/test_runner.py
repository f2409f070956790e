import json

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.sweeps import runner
from seq2seq_jax.types import InputError

FILE = """
from configs import default


def get_config():
    config = default.get_config()
    config.sweep.seeds = 2
    return config


def sweep():
    return [{"model.attention.score": "general"}, {"model.attention.score": "concat"}]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "experiment.py"
    path.write_text(FILE)
    return str(path)


@pytest.fixture
def plan(file, tmp_path):
    return runner.make_plan(file, tmp_path / "sweep", command="the command")


def test_cells_times_seeds(plan, tmp_path):
    assert [str(run.folder.relative_to(tmp_path / "sweep")) for run in plan.runs] == [
        "score=general/seed0",
        "score=concat/seed0",
        "score=general/seed1",
        "score=concat/seed1",
    ]
    assert [(run.config.model.attention.score, run.config.seed) for run in plan.runs] == [
        ("general", 0),
        ("concat", 0),
        ("general", 1),
        ("concat", 1),
    ]
    assert not (tmp_path / "sweep").exists()


def test_seeds_and_overrides(file, tmp_path):
    overrides = {"seed": 5, "train.epochs": 1.0, "model.attention.score": "none"}
    plan = runner.make_plan(file, tmp_path, overrides, seeds=3)
    assert plan.description["seeds"] == [5, 6, 7]
    assert all(run.config.train.epochs == 1.0 for run in plan.runs)
    assert plan.runs[0].config.model.attention.score == "general"  # the cell wins


def test_problems_of_all_cells_at_once(file, tmp_path):
    with pytest.raises(InputError) as caught:
        runner.make_plan(file, tmp_path, {"train.eval_every": 51})
    assert str(caught.value).count("no multiple of train.log_every") == 2
    assert "cell score=concat:" in str(caught.value)
    with pytest.raises(InputError, match="no such cell"):
        runner.make_plan(file, tmp_path, {"sweep.baseline": "score=none"})


def test_a_sweep_over_seeds_is_refused(file, tmp_path):
    path = tmp_path / "seeds.py"
    path.write_text(FILE.replace("model.attention.score", "seed"))
    with pytest.raises(InputError, match="--seeds"):
        runner.make_plan(str(path), tmp_path)


def test_prepare_writes_what_reports_read(plan, file, tmp_path):
    assert runner.prepare(plan) == plan.runs
    assert json.loads((tmp_path / "sweep" / "sweep.json").read_text()) == {
        "config": file,
        "command": "the command",
        "cells": [
            {"name": "score=general", "overrides": {"model.attention.score": "general"}},
            {"name": "score=concat", "overrides": {"model.attention.score": "concat"}},
        ],
        "seeds": [0, 1],
        "baseline": "score=general",
    }
    for run in plan.runs:
        saved = configs.read(run.folder / "config.json")
        assert configs.flatten(saved) == configs.flatten(run.config)


def test_a_config_can_be_mended_before_its_run_begins(plan, file, tmp_path):
    runner.prepare(plan)
    mended = runner.make_plan(file, tmp_path / "sweep", {"train.epochs": 2.0}, seeds=2)
    assert runner.prepare(mended) == mended.runs
    assert configs.read(mended.runs[0].folder / "config.json").train.epochs == 2.0


def test_a_changed_config_is_not_mixed_in(plan, file, tmp_path):
    runner.prepare(plan)
    for run in plan.runs:
        (run.folder / "checkpoints" / "last" / "50").mkdir(parents=True)
    before = (tmp_path / "sweep" / "sweep.json").read_text()
    changed = runner.make_plan(file, tmp_path / "sweep", {"train.epochs": 2.0}, seeds=3)
    with pytest.raises(InputError) as caught:
        runner.prepare(changed)
    assert "score=concat/seed1: train.epochs was 10.0 and is now 2.0" in str(caught.value)
    assert (tmp_path / "sweep" / "sweep.json").read_text() == before
    assert not (tmp_path / "sweep" / "score=general" / "seed2").exists()
    # More seeds are no change.
    more = runner.make_plan(file, tmp_path / "sweep", seeds=3)
    assert len(runner.prepare(more)) == 6


def test_an_ensemble_in_the_folder_is_left_alone_and_no_cell_takes_its_name(plan):
    saved = plan.folder / "ensemble" / "seed0" / "ensemble.json"
    saved.parent.mkdir(parents=True)
    saved.write_text("{}")
    assert runner.prepare(plan) == plan.runs
    assert [path.name for path in saved.parent.iterdir()] == ["ensemble.json"]
    run = plan.runs[0]._replace(cell="ensemble", folder=saved.parent)
    with pytest.raises(InputError, match=r"ensemble holds an ensemble, .* rename the folder"):
        runner.prepare(plan._replace(runs=[run]))


def test_execute_skips_finished_runs_and_goes_on(plan):
    asked = []

    def executor(jobs):
        runs = [run for job in jobs for run in job]
        asked.append([run.name for run in runs])
        outcomes = []
        for run in runs:
            (run.folder / "FAILED").unlink(missing_ok=True)
            if run.name == "score=general/seed1" and len(asked) == 1:
                error = "Traceback\nValueError: lost"
                outcomes.append(runner.fail(run, 1.0, error))
            else:
                (run.folder / "DONE").write_text("{}")
                outcomes.append(runner.Outcome(run, "done", 1.0))
        return outcomes

    outcomes = runner.execute(plan, executor)
    failed = plan.runs[2].folder / "FAILED"
    assert failed.read_text() == "Traceback\nValueError: lost\n"
    text = runner.summarize(plan, outcomes)
    assert "3 of 4 runs are done" in text
    assert "failed: score=general/seed1: ValueError: lost" in text
    assert str(failed) in text
    assert "same command" in text
    assert runner.state(plan.runs[2]) == "failed"
    assert "failed   " in runner.describe(plan)

    text = runner.summarize(plan, runner.execute(plan, executor))
    assert asked[1] == ["score=general/seed1"]
    assert text.startswith("4 of 4 runs are done")
    assert "same command" not in text


def test_what_another_sweep_has_done_meanwhile_is_done(plan):
    def executor(jobs):
        ended, *others = [run for job in jobs for run in job]
        (ended.folder / "DONE").write_text("{}")
        return [runner.Outcome(run, "busy", 1.0) for run in (ended, *others)]

    outcomes = runner.execute(plan, executor)
    assert [outcome.state for outcome in outcomes] == ["done", "busy", "busy", "busy"]


def test_a_failure_keeps_its_reason_until_the_run_begins_again(plan):
    def fails(jobs):
        return [runner.fail(run, 1.0, "out of memory") for job in jobs for run in job]

    runner.execute(plan, fails)
    runner.execute(plan, lambda jobs: [])  # interrupted before any began
    assert {(run.folder / "FAILED").read_text() for run in plan.runs} == {"out of memory\n"}


def test_describe_writes_nothing(plan, tmp_path):
    text = runner.describe(plan)
    assert "4 runs = 2 cells x 2 seeds" in text
    assert text.count("new  ") == 4
    assert not (tmp_path / "sweep").exists()
