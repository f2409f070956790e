import json
import os
import signal
import sys
import threading
import time

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.sweeps import child, claims, executors, progress
from seq2seq_jax.sweeps.runner import Run
from seq2seq_jax.training import logs
from seq2seq_jax.types import InputError

# What stands in for `train`: the run's name says what it does.
SCRIPT = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
cell = folder.parent.name
def save(*_):
    (folder / "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
if cell == "resumed":
    print("going on from the checkpoint of step 40", flush=True)
print("step 50/200  1.0 steps/s", flush=True)
started = time.time()
if cell == "bad":
    raise ValueError("lost the thread")
if cell == "input":
    sys.exit("error: no such file")
if cell == "killed":
    print("error: another process found the folder taken", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if cell == "busy":
    sys.exit(75)
if cell == "slow":
    (folder / "ready").touch()
    time.sleep(60)
time.sleep(0.3)
facts = {"cores": sorted(os.sched_getaffinity(0)), "started": started, "ended": time.time(),
         "memory": os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION")}
(folder / "facts.json").write_text(json.dumps(facts))
(folder / "metrics.jsonl").write_text('{"step": 200, "valid/loss": 0.25, "valid/bleu": 80.0}\\n')
(folder / "DONE").write_text("{}")
"""


@pytest.fixture
def make_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(
        child,
        "train_command",
        lambda folders, flags: [sys.executable, "-S", "-c", SCRIPT, *map(str, folders), *flags],
    )
    config = configs.load("configs/default.py")

    def make(*cells):
        runs = [Run(cell, i, tmp_path / cell / f"seed{i}", config) for i, cell in enumerate(cells)]
        for run in runs:
            run.folder.mkdir(parents=True)
        return runs

    return make


def local(runs, *arguments):
    return executors.local([[run] for run in runs], *arguments)


def facts(run):
    return json.loads((run.folder / "facts.json").read_text())


def test_a_failure_stops_no_other(make_runs, capfd):
    outcomes = local(make_runs("bad", "good", "input", "killed", "busy", "fine"))
    assert [outcome.state for outcome in outcomes] == [
        *("failed", "done", "failed", "failed", "busy", "done")
    ]
    bad, _, wrong, killed, *_ = outcomes
    assert bad.error.startswith("Traceback (most recent call last)")
    assert bad.error.endswith("ValueError: lost the thread")
    assert wrong.error == "error: no such file"
    assert "ended by signal 9 (killed; out of memory?)" in killed.error
    lines = capfd.readouterr().err.splitlines()
    assert "started  bad/seed0" in lines
    assert "[1/6] failed   bad/seed0 in 0:00: ValueError: lost the thread" in lines
    assert any("done     good/seed1" in x and "valid/loss 0.25  valid/bleu 80" in x for x in lines)


def test_a_run_that_another_process_trains_keeps_its_reason(make_runs):
    runs = make_runs("busy", "bad")
    for run in runs:
        (run.folder / "FAILED").write_text("error: loss is nan\n")
    with claims.claim(runs[0].folder):
        assert [outcome.state for outcome in local(runs)] == ["failed", "failed"]
    found = [(run.folder / "FAILED").read_text() for run in runs]
    assert found[0] == "error: loss is nan\n"
    assert found[1].startswith("Traceback")


def test_workers_train_at_once_each_on_its_cores(make_runs):
    runs = make_runs("a", "b")
    workers = 2
    assert [o.state for o in local(runs, workers)] == ["done", "done"]
    a, b = map(facts, runs)
    assert a["started"] < b["ended"] and b["started"] < a["ended"]
    assert a["memory"] == "0.45"
    everything = sorted(os.sched_getaffinity(0))
    if len(everything) >= workers:
        assert not set(a["cores"]) & set(b["cores"])
        assert sorted(a["cores"] + b["cores"]) == everything


def test_one_worker_trains_one_after_another_on_all_cores(make_runs):
    runs = make_runs("a", "b")
    local(runs)
    a, b = map(facts, runs)
    assert a["ended"] < b["started"]
    assert a["cores"] == sorted(os.sched_getaffinity(0))
    assert a["memory"] is None


def test_core_shares(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 6})
    assert executors.core_shares(1) == []
    assert executors.core_shares(2) == [[0, 1], [2, 5, 6]]
    assert executors.core_shares(6) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_lets_the_children_save(make_runs, number, capfd):
    runs = make_runs("slow", "never")

    def interrupt():
        while not (runs[0].folder / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    # A shell starts programs of the background with SIGINT ignored.
    at_start = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        outcomes = local(runs)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, at_start)
    assert [(outcome.run.cell, outcome.state) for outcome in outcomes] == [("slow", "stopped")]
    assert (runs[0].folder / "saved").exists()
    assert not (runs[1].folder / "log.txt").exists()
    assert "stopping" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_job_that_is_interrupted_lets_its_child_save(make_runs):
    (run,) = make_runs("slow")

    def time_limit(number, frame):
        raise TimeoutError

    def interrupt():
        while not (run.folder / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR2)  # as submitit does

    before = signal.signal(signal.SIGUSR2, time_limit)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            executors.train([run], [])
    finally:
        thread.join()
        signal.signal(signal.SIGUSR2, before)
    assert (run.folder / "saved").exists()
    assert not (run.folder / "FAILED").exists()


def test_a_sweep_under_nohup_outlives_its_terminal(make_runs, monkeypatch):
    def close_terminal(self, child):
        os.kill(os.getpid(), signal.SIGHUP)

    monkeypatch.setattr(progress.Lines, "start", close_terminal)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert [outcome.state for outcome in local(make_runs("good"))] == ["done"]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_failure_is_in_the_folder_while_the_sweep_goes_on(make_runs, monkeypatch):
    runs = make_runs("bad", "good")
    report, seen = progress.Lines.report, {}

    def look(self, outcome):
        seen[outcome.run.cell] = (runs[0].folder / "FAILED").read_text()
        report(self, outcome)

    monkeypatch.setattr(progress.Lines, "report", look)
    local(runs)
    assert seen["bad"].endswith("ValueError: lost the thread\n")
    assert not (runs[1].folder / "FAILED").exists()


def test_a_run_that_begins_again_is_no_failure_any_more(make_runs):
    (run,) = make_runs("good")
    (run.folder / "FAILED").write_text("lost")
    assert [outcome.state for outcome in local([run])] == ["done"]
    assert not (run.folder / "FAILED").exists()


def test_a_folder_that_is_gone_stops_no_other(make_runs):
    runs = make_runs("gone", "good")
    runs[0].folder.rmdir()
    outcomes = local(runs)
    assert [(outcome.run.cell, outcome.state) for outcome in outcomes] == [
        ("gone", "failed"),
        ("good", "done"),
    ]
    assert "No such file" in outcomes[0].error


def test_the_time_left_counts_from_where_a_run_went_on(make_runs, monkeypatch):
    children = [child.Child([run]) for run in make_runs("fresh", "resumed")]
    for one in children:
        one.wait()
    assert [one.first() for one in children] == [0, 40]
    now = progress.time.monotonic()
    estimate = progress.Estimate(2)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now + 60)
    estimate._started = now
    standing = estimate.standing(children)  # both at 50 of 200, of which 60 were made in a minute
    assert standing.steps_per_second == pytest.approx(1)
    assert standing.seconds_left == pytest.approx(300)
    estimate.skip(1)
    assert estimate.standing(children).share == pytest.approx(0.75)
    assert progress.Estimate(0).standing([]).share == 0


def test_an_error_of_the_sweep_itself_stops_the_children(make_runs, monkeypatch):
    runs = make_runs("slow")

    def full_disk(self, children):
        while not (runs[0].folder / "ready").exists():
            time.sleep(0.02)
        raise OSError("no space left on device")

    monkeypatch.setattr(progress.Lines, "update", full_disk)
    with pytest.raises(OSError, match="no space"):
        local(runs)
    assert (runs[0].folder / "saved").exists()


def test_progress_counts_updates_of_all_runs(make_runs, capfd, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    local(make_runs("a", "b"))
    lines = [x for x in capfd.readouterr().err.splitlines() if "steps/s" in x]
    # Half of the second of two runs of 200: 50/200 of it, with the first one done.
    assert any(x.startswith(" 62%") and "(b/seed1 25%)" in x for x in lines)


# What stands in for `train` on three folders: the first run is done early, the second is lost, and
# then the process fails, or all is done.
TOGETHER = """
import pathlib, sys, time
done, lost, last = map(pathlib.Path, sys.argv[1:4])
print("step 50/200  1.0 steps/s", flush=True)
(done / "DONE").write_text("{}")
(lost / "FAILED").write_text("error: not finite")
while not (last / "go").exists():
    time.sleep(0.01)
if last.parent.name == "bad":
    raise ValueError("lost the thread")
(last / "DONE").write_text("{}")
sys.exit(1)
"""


@pytest.mark.parametrize("cell", ["good", "bad"])
def test_runs_of_one_process_end_each_on_its_own(make_runs, monkeypatch, capfd, cell):
    monkeypatch.setattr(
        child,
        "train_command",
        lambda folders, flags: [sys.executable, "-S", "-c", TOGETHER, *map(str, folders)],
    )
    runs = make_runs("first", "second", cell)
    report = progress.Lines.report

    def go_on(self, outcome):
        report(self, outcome)
        (runs[2].folder / "go").touch()  # which it could not, were the outcome not known yet

    monkeypatch.setattr(progress.Lines, "report", go_on)
    outcomes = executors.local([runs])
    ends = [(outcome.run.cell, outcome.state) for outcome in outcomes]
    assert sorted(ends[:2]) == [("first", "done"), ("second", "failed")]
    assert ends[2:] == [(cell, "done" if cell == "good" else "failed")]
    assert outcomes[2].error.endswith("ValueError: lost the thread") == (cell == "bad")
    said = capfd.readouterr().err
    assert "started  first/seed0 and 2 more" in said
    assert any("failed   second/seed1" in x and "error: not finite" in x for x in said.splitlines())


def test_a_run_that_was_done_before_is_no_outcome(make_runs):
    first, second = make_runs("a", "b")
    (second.folder / "DONE").touch()
    assert [outcome.run for outcome in executors.local([[first, second]])] == [first]


def test_an_old_log_is_no_progress(make_runs):
    (run,) = make_runs("a")
    (run.folder / "log.txt").write_text("step 200/200\n")
    process = child.Child([run])
    assert process.step() in [(0, 0), (50, 200)]
    process.wait()
    assert process.step() == (50, 200)
    (run.folder / "log.txt").rename(run.folder / "old.txt")
    assert process.step() == (0, 0)
    (run.folder / "old.txt").rename(run.folder / "log.txt")
    assert (run.folder / "log.txt").read_text().startswith("step 200/200\n")


def test_clock():
    assert [logs.clock(s) for s in (0.0, 59.6, 3599.0, 3661.0, float("inf"))] == [
        *("0:00", "1:00", "59:59", "1:01:01", "?")
    ]


def test_bars_on_a_terminal(make_runs, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(progress.make_progress(1), progress.Bars)
    assert [o.state for o in local(make_runs("a", "bad"))] == ["done", "failed"]


def test_slurm_through_submitit(make_runs, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    # Each job is trained in a process of its own, which does not see the stand-in above.
    monkeypatch.setattr(
        executors, "train", lambda job, flags: [executors.Outcome(job[0], "done", 1.0)]
    )
    runs = make_runs("a", "b")
    outcomes = executors.slurm(
        [[run] for run in runs], tmp_path / "slurm", {"timeout_min": 1}, cluster="local"
    )
    assert sorted((o.run.name, o.state) for o in outcomes) == [
        ("a/seed0", "done"),
        ("b/seed1", "done"),
    ]


def test_a_job_of_slurm_that_failed_marks_what_is_not_done(make_runs, tmp_path, monkeypatch):
    pytest.importorskip("submitit")

    def train(job, flags):
        (job[1].folder / "DONE").touch()
        raise TimeoutError("preempted")

    monkeypatch.setattr(executors, "train", train)
    before, now, never = runs = make_runs("a", "b", "c")
    (before.folder / "DONE").touch()
    outcomes = executors.slurm([runs], tmp_path / "slurm", {"timeout_min": 1}, cluster="local")
    assert [(o.run, o.state) for o in outcomes] == [(now, "done"), (never, "failed")]
    assert "preempted" in (never.folder / "FAILED").read_text()


def test_slurm_without_submitit_or_slurm(make_runs, tmp_path, monkeypatch):
    runs = make_runs("a")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="submitit did not take the jobs"):
        executors.slurm([runs], tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match="the extra `slurm`"):
        executors.slurm([runs], tmp_path)
