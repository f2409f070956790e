"""Which runs of a sweep train together, and what is said about it."""

import json
import shutil
import subprocess

import pytest

from seq2seq_jax import __main__ as program
from seq2seq_jax import config as configs
from seq2seq_jax.sweeps import child, claims, population, runner
from seq2seq_jax.sweeps.runner import Run
from seq2seq_jax.training import groups

CELLS = {
    "dot": {"model.attention.score": "concat"},
    "half": {"teacher_forcing.ratio": 0.5},
    "slow": {"teacher_forcing.ratio": 0.3, "train.learning_rate": 1e-4},
    "gold": {},
}


@pytest.fixture
def runs(tmp_path):
    found = []
    for seed in (0, 1):
        for cell, changes in CELLS.items():
            folder = tmp_path / cell / f"seed{seed}"
            folder.mkdir(parents=True)
            config = configs.load("configs/default.py", {**changes, "seed": seed})
            configs.save(config, folder / "config.json")
            found.append(Run(cell, seed, folder, config))
    return found


def cost(members, alone, together):
    both = {"total_seconds": 100.0, "bytes": 3 * 2**20}
    return {
        "members": members,
        "updates": 1000,
        "compilations": 2,
        "alone": {"seconds": alone, **both},
        "together": {"seconds": together, **both},
    }


def never(group):
    raise AssertionError("nothing is to be measured")


def names(jobs):
    return [[run.name for run in job] for job in jobs]


def jobs(found):
    return [job for group in found for job in group.jobs]


def test_off_is_one_run_a_process(runs):
    assert jobs(population.plan(runs, "off", 0, never)) == [[run] for run in runs]


def test_runs_of_one_signature_train_together(runs):
    assert names(jobs(population.plan(runs, "all", 0, never))) == [
        ["dot/seed0", "dot/seed1"],
        ["half/seed0", "slow/seed0", "half/seed1", "slow/seed1"],
        ["gold/seed0", "gold/seed1"],
    ]


def test_a_run_that_another_process_trains_is_left_out(runs):
    with claims.claim(runs[1].folder):
        assert names(jobs(population.plan(runs, "all", 0, never)))[1:3] == [
            ["half/seed0"],
            ["slow/seed0", "half/seed1", "slow/seed1"],
        ]


def test_twins_stand_alone_behind_the_run_that_trains(runs, tmp_path):
    """Those whose test alone is searched otherwise take its training over."""
    for run in (runs[2], runs[6]):  # slow, with both seeds: now as half is, but for its test
        run.config.update(runs[1].config)
        run.config.update({"seed": run.seed, "evaluation": {"beam": 5}})
    wanted = [
        ["dot/seed0", "dot/seed1"],
        ["half/seed0", "half/seed1"],
        ["slow/seed0"],
        ["gold/seed0", "gold/seed1"],
        ["slow/seed1"],
    ]
    assert names(jobs(population.plan(runs, "all", 0, never))) == wanted
    # Also where the others have ended, and are no longer among those to do.
    (tmp_path / "sweep.json").write_text("{}")
    for run in (runs[1], runs[5]):
        (run.folder / "DONE").touch()
    found = names(jobs(population.plan([runs[2], runs[6]], "all", 0, never)))
    assert found == [["slow/seed0"], ["slow/seed1"]]


def test_no_more_than_so_many(runs):
    found = names(jobs(population.plan(runs, "all", 3, never)))
    assert found[1:3] == [["half/seed0", "slow/seed0"], ["half/seed1", "slow/seed1"]]


def test_auto_asks_what_is_faster(runs):
    def measure(group):
        if group[0].cell == "gold":
            raise population.MeasureError("error: out of memory")
        # Four in 3 s against 4 x 1 s; two in 1.9 s against 2 x 1 s, which is too little to count.
        return cost(len(group), 1.0, 3.0 if len(group) == 4 else 1.9)

    found = population.plan(runs, "auto", 0, measure)
    assert [group.together for group in found] == [False, True, False]
    assert [len(job) for job in jobs(found)] == [1, 1, 4, 1, 1]
    text = population.describe(found)
    assert text.splitlines() == [
        "8 runs in 5 programs, 6 compilations of the step, about 3:20 of updates, no program above"
        " 3 MiB (those that were measured)",
        "  dot/seed0 and 1 more: one after another: does not pay (1900.0 ms for an update of all,"
        " 1000.0 ms for one of one: 1.05 times as fast)",
        "  half/seed0 and 3 more: together (3000.0 ms for an update of all, 1000.0 ms for one of"
        " one: 1.33 times as fast)",
        "  gold/seed0 and 1 more: one after another: could not be measured together"
        " (error: out of memory)",
    ]


@pytest.mark.parametrize("mode", ["auto", "all"])
def test_runs_by_cudnn_train_one_after_another(runs, mode):
    for run in runs:
        run.config.model.encoder.update({"cell": "lstm", "kernel": "cudnn"})
    found = population.plan(runs, mode, 0, never)
    assert jobs(found) == [[runs[i]] for i in (0, 4, 1, 2, 5, 6, 3, 7)]
    said = population.describe(found).splitlines()
    assert said[0] == "8 runs in 8 programs"
    assert said[1] == (
        "  dot/seed0 and 1 more: one after another: model.encoder.kernel: cudnn computes one run at"
        " a time; take scan"
    )


@pytest.mark.parametrize("mode", population.MODES)
def test_what_has_begun_goes_on_as_it_began(runs, mode):
    """half/seed0 began alone; slow/seed0, done by now, and slow/seed1 began together."""
    of = {run.name: run for run in runs}
    pair = [of["slow/seed0"], of["slow/seed1"]]
    groups.form([run.folder for run in pair])
    for run in (of["half/seed0"], pair[1]):
        (run.folder / "checkpoints" / "last" / "10").mkdir(parents=True)
    (pair[0].folder / "DONE").touch()
    to_do = [run for run in runs if run != pair[0]]
    found = population.plan(to_do, mode, 0, lambda group: cost(len(group), 1.0, 1.0))
    assert ["slow/seed0", "slow/seed1"] in names(jobs(found))
    assert ["half/seed0"] in names(jobs(found))
    assert "slow/seed0 and 1 more: together: as they began" in population.describe(found)


@pytest.mark.parametrize("mode", population.MODES)
def test_an_emptied_member_is_planned_with_its_group_alone(runs, mode):
    of = {run.name: run for run in runs}
    pair = [of["half/seed0"], of["slow/seed1"]]
    groups.form([run.folder for run in pair])
    for run in pair:
        (run.folder / "checkpoints" / "last" / "10").mkdir(parents=True)
    shutil.rmtree(pair[0].folder)  # which comes first among the runs
    found = names(jobs(population.plan(runs, mode, 0, lambda group: cost(len(group), 1.0, 1.0))))
    assert [job for job in found if "half/seed0" in job] == [["half/seed0", "slow/seed1"]]
    # No longer a cell of the sweep: the process of the other one says what can be done.
    found = names(jobs(population.plan([pair[1], of["gold/seed0"]], "off", 0, never)))
    assert found == [["slow/seed1"], ["gold/seed0"]]


def test_a_measurement_that_fails_says_how(runs, monkeypatch):
    seen = []

    def run(command, **options):
        folders = [word.removeprefix("--workdir=") for word in command if "--workdir" in word]
        seen.append([configs.read(f"{folder}/config.json").seed for folder in folders])
        return subprocess.CompletedProcess(command, 1, "", "x\nerror: no such data\n")

    monkeypatch.setattr(population.subprocess, "run", run)
    with pytest.raises(population.MeasureError, match=r"^error: no such data$"):
        population.measure_in_child([runs[0], runs[4]])
    assert seen == [[0, 1]]
    assert not (runs[0].folder / "vocabulary").exists()


def test_a_dry_run_tells_the_programs(tmp_path, capsys):
    arguments = ["sweep", "--config=configs/quickstart.py", f"--workdir={tmp_path / 'x'}"]
    assert program.main([*arguments, "--population=all", "--dry_run"]) == 0
    said = capsys.readouterr()
    assert "runs = " in said.out
    assert "8 runs in 4 programs" in said.err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep", "--population=auto", "--executor=slurm"], "take all, or off"),
        (["sweep", "--population=auto", "--workers=2"], "or one worker"),
        (["sweep", "--population=some"], "<off|auto|all>"),
        (["train", "--workdir=a", "--workdir=b"], "--config goes with one --workdir"),
        (["train", "--measure"], "--measure compares several --workdir"),
    ],
)
def test_wrong_usage_of_populations(capsys, arguments, words):
    rest = ["--config=configs/quickstart.py", "--workdir=x"]
    assert program.main([*arguments, *rest]) == 2
    assert words in capsys.readouterr().err


def test_runs_that_cannot_train_together_are_told_so(runs, capsys):
    workdirs = [f"--workdir={run.folder}" for run in (runs[0], runs[1])]
    assert program.main(["train", *workdirs]) == 1
    said = capsys.readouterr().err
    assert "model.attention.score: 'concat', 'general'" in said
    assert json.loads((runs[0].folder / "config.json").read_text())["seed"] == 0


def test_a_group_is_told_of_a_member_that_is_another_run_now(runs, capsys):
    pair = [runs[1].folder, runs[2].folder]
    groups.form(pair)
    (pair[0] / "checkpoints" / "last" / "10").mkdir(parents=True)
    shutil.rmtree(pair[1])
    workdirs = [f"--workdir={folder}" for folder in pair]
    way_out = "slow/seed0, which was emptied, and can go on only beside a run of that kind"
    assert program.main(["train", *workdirs]) == 1  # it holds no config
    assert way_out in capsys.readouterr().err
    pair[1].mkdir()
    configs.save(runs[0].config, pair[1] / "config.json")
    assert program.main(["train", *workdirs]) == 1
    said = capsys.readouterr().err
    assert "model.attention.score: 'general', 'concat'" in said and way_out in said


def test_runs_that_another_sweep_begins_meanwhile_have_not_failed(runs, capsys):
    """half/seed0 began alone since; the other two are free."""
    (runs[1].folder / "checkpoints" / "last" / "10").mkdir(parents=True)
    workdirs = [f"--workdir={runs[i].folder}" for i in (2, 1, 5)]
    assert program.main(["train", *workdirs]) == child.BUSY
    assert "seed0 began alone, and goes on alone" in capsys.readouterr().err
    found = runner.summarize(
        runner.Plan(runs[0].folder, runs, {}), [runner.Outcome(runs[2], "busy", 1.0)]
    )
    assert "  begun by others while this sweep ran: slow/seed0" in found
    assert names(jobs(population.plan(runs[1:3] + runs[5:6], "all", 0, never))) == [
        ["half/seed0"],
        ["slow/seed0", "half/seed1"],
    ]
