"""Trains every cell of a config's sweep() over seeds; the same command goes on where it ended.

    ./launch.sh sweep --config=configs/X.py --workdir=DIR [--seeds=5] [--workers=2] [--dry_run]

Finished runs are skipped, a failed run stops no other and leaves FAILED in its folder. Ctrl-C lets
the runs save and ends. --config.KEY=VALUE applies to every cell; what a cell itself sets wins.

With --population=auto, runs that differ in numbers alone (seed, ratio, learning rate and the like)
train as one program where that is faster on this machine.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from absl import flags

from seq2seq_jax.commands import common


def define() -> flags.FlagValues:
    values = common.make_flags("workdir", "platform", "config")
    flags.DEFINE_integer(
        "seeds", 0, "Seeds a cell; 0 = config.sweep.seeds.", lower_bound=0, flag_values=values
    )
    flags.DEFINE_enum(
        "executor", "local", ["local", "slurm"], "Where the runs are trained.", flag_values=values
    )
    flags.DEFINE_integer(
        "workers", 1, "local: runs at a time; they share the cores.", 1, flag_values=values
    )
    flags.DEFINE_multi_string(
        "slurm",
        [],
        "slurm: NAME=VALUE for submitit, repeated, as --slurm=timeout_min=60"
        " --slurm=slurm_partition=gpu.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "population",
        "off",
        ["off", "auto", "all"],
        "Whether runs that can share a program do: none, those that are faster together by a"
        " measurement of some updates, or all. Runs that have begun go on as they began.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "members", 0, "Runs in one program at most; 0 = no limit.", 0, flag_values=values
    )
    flags.DEFINE_boolean("dry_run", False, "Print the runs and end.", flag_values=values)
    return values


def main(arguments: Sequence[str]) -> int:
    from seq2seq_jax.sweeps import executors, population, runner

    overrides, others = common.split_overrides(arguments)
    values = define()
    common.parse(values, others)
    common.require(values, "config", "workdir")
    parameters = _parameters(values.slurm)
    if values.population == "auto" and values.executor == "slurm":
        raise common.UsageError(
            "--population=auto times updates on this machine, and --executor=slurm trains on"
            " others; take all, or off"
        )
    if values.population == "auto" and values.workers > 1:
        raise common.UsageError(
            "--population=auto times updates on the whole machine, of which --workers="
            f"{values.workers} leaves each job a part; take all, or off, or one worker"
        )
    settings = common.parse_overrides(overrides)
    plan = runner.make_plan(
        values.config,
        values.workdir,
        settings,
        values.seeds,
        command=shlex.join(["./launch.sh", "sweep", *arguments]),
    )
    for key in settings:
        if all(key in cell["overrides"] for cell in plan.description["cells"]):
            note = f"--config.{key} changes nothing: every cell of sweep() has a value of its own"
            print(note, file=sys.stderr)
    passed = [f"--platform={values.platform}"] if values.platform else []
    common.use_compilation_cache()
    measure = partial(population.measure_in_child, flags=passed)

    def arrange(runs: list[runner.Run]) -> list[runner.Job]:
        with executors.interruptible():  # ends the process that measures, too
            groups = population.plan(runs, values.population, values.members, measure)
        if any(len(group.runs) > 1 for group in groups):
            print(population.describe(groups), file=sys.stderr, flush=True)
        return [job for group in groups for job in group.jobs]

    if values.dry_run:
        print(runner.describe(plan), flush=True)
        runner.check(plan)
        arrange([run for run in plan.runs if runner.state(run) != "done"])
        return 0
    if values.executor == "local":
        executor = partial(executors.local, workers=values.workers, flags=passed)
    else:
        folder = Path(values.workdir) / "slurm"
        executor = partial(executors.slurm, folder=folder, parameters=parameters, flags=passed)
    outcomes = runner.execute(plan, executor, arrange)
    print(runner.summarize(plan, outcomes), file=sys.stderr)
    states = {outcome.state for outcome in outcomes}
    if states & {"stopped", "queued"}:
        return 130
    return 1 if states & {"failed", "busy"} else os.EX_OK


def _parameters(pairs: Sequence[str]) -> dict[str, str | int]:
    parameters = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise common.UsageError(f"--slurm={pair}: expected NAME=VALUE")
        parameters[name] = int(value) if value.isdigit() else value
    return parameters
