"""A sweep: which runs there are, which are still to do, and how they ended."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.files import write_json, write_text
from seq2seq_jax.sweeps import claims, grid
from seq2seq_jax.training import groups
from seq2seq_jax.types import InputError


class Run(NamedTuple):
    """One training: a cell with a seed, in its own folder."""

    cell: str
    seed: int
    folder: Path
    config: ConfigDict

    @property
    def name(self) -> str:
        return f"{self.cell}/seed{self.seed}"


class Plan(NamedTuple):
    """All runs of a sweep and what sweep.json says of it."""

    folder: Path
    runs: list[Run]
    description: dict[str, Any]


class Outcome(NamedTuple):
    """How a run ended: done, failed, stopped, queued, or busy: another process trains it, or began
    it, or one that it was to train with."""

    run: Run
    state: str
    seconds: float
    error: str = ""


Job = list[Run]  # the runs of one process, which trains them together
Execute = Callable[[Sequence[Job]], list[Outcome]]


def make_plan(
    path: str,
    workdir: str | Path,
    overrides: Mapping[str, Any] = {},
    seeds: int = 0,
    command: str = "",
) -> Plan:
    """The cells of the file's `sweep()` times the seeds; nothing is written.

    Args:
      path: experiment file, as `config.load` takes it.
      workdir: folder of the sweep.
      overrides: apply to every cell; what the cell itself sets wins.
      seeds: seeds a cell, counted up from the config's seed; 0 = config.sweep.seeds.
      command: the command line, for sweep.json.

    Raises:
      InputError: with the problems of all cells.
    """
    workdir = Path(workdir)
    points = configs.points(path)
    names = grid.cell_names(points)
    runs: list[Run] = []
    problems: list[str] = []
    for point, name in zip(points, names, strict=True):
        try:
            runs += _runs(path, workdir, name, point, overrides, seeds)
        except InputError as error:
            problems.append(f"cell {name}: {error}")
    if problems:
        raise InputError("\n".join(problems))
    # All cells once before the second seed: a whole table early, and the runs of one cell do not
    # compile the same steps at the same time but find them in the cache.
    runs.sort(key=lambda run: run.seed)
    first = runs[0].config.sweep
    description = {
        "config": path,
        "command": command,
        "cells": [
            {"name": name, "overrides": point} for name, point in zip(names, points, strict=True)
        ],
        "seeds": list(dict.fromkeys(run.seed for run in runs)),
        "baseline": grid.baseline(first.baseline, names),
    }
    return Plan(workdir, runs, description)


def _runs(
    path: str,
    workdir: Path,
    name: str,
    point: Mapping[str, Any],
    overrides: Mapping[str, Any],
    seeds: int,
) -> list[Run]:
    if "seed" in point:
        raise InputError("a sweep() does not set seed; take --seeds or config.sweep.seeds")
    config = configs.load(path, {**overrides, **point})
    runs = []
    for seed in range(config.seed, config.seed + (seeds or config.sweep.seeds)):
        own = config.copy_and_resolve_references()
        own.seed = seed
        runs.append(Run(name, seed, workdir / name / f"seed{seed}", own))
    return runs


def check(plan: Plan) -> None:
    """Raises InputError where a folder already holds a run with another config, or a cell has the
    name of an ensemble."""
    for cell in dict.fromkeys(run.cell for run in plan.runs):
        if any((plan.folder / cell).glob("seed*/ensemble.json")):
            raise InputError(
                f"{plan.folder / cell} holds an ensemble, and a cell of the sweep has its name; "
                "rename the folder, or the cell (sweep.cell)"
            )
    changed = []
    for run in plan.runs:
        if _taken(run.folder):
            before = configs.read(run.folder / "config.json")
            changed += [f"{run.name}: {x}" for x in configs.differences(before, run.config)]
    if changed:
        raise InputError(
            f"{plan.folder} holds runs with another config; take another --workdir, or delete them:"
            + "".join(f"\n  {line}" for line in changed)
        )


def prepare(plan: Plan) -> list[Run]:
    """Writes sweep.json and every config.json; returns the runs that are still to do.

    Raises InputError where `check` does; nothing is written then.
    """
    check(plan)
    for run in plan.runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        if not _taken(run.folder):
            configs.save(run.config, run.folder / "config.json")
    write_json(plan.folder / "sweep.json", plan.description)
    return [run for run in plan.runs if state(run) != "done"]


def _taken(folder: Path) -> bool:
    """Whether a run has begun there, or is about to; before that its config may still change."""
    return groups.begun(folder) or bool(claims.holder(folder))


def state(run: Run) -> str:
    """done, busy, failed, started or new."""
    if (run.folder / "DONE").exists():
        return "done"
    if claims.holder(run.folder):
        return "busy"
    if (run.folder / "FAILED").exists():
        return "failed"
    return "started" if (run.folder / "metrics.jsonl").exists() else "new"


def describe(plan: Plan) -> str:
    """The plan as text, one line a run."""
    cells = len(plan.description["cells"])
    seeds = len(plan.description["seeds"])
    lines = [f"{len(plan.runs)} runs = {cells} cells x {seeds} seeds"]
    lines += [f"  {state(run):8} {run.folder}" for run in plan.runs]
    return "\n".join(lines)


def each_alone(runs: Sequence[Run]) -> list[Job]:
    return [[run] for run in runs]


def execute(
    plan: Plan, executor: Execute, arrange: Callable[[list[Run]], list[Job]] = each_alone
) -> list[Outcome]:
    """Trains what is not done; a run that fails stops no other.

    `arrange` says which runs train together.
    """
    to_do = prepare(plan)
    jobs = arrange(to_do)
    return [
        # Who trained it may have ended meanwhile.
        outcome._replace(state="done")
        if outcome.state == "busy" and state(outcome.run) == "done"
        else outcome
        for outcome in executor(jobs)
    ]


def fail(run: Run, seconds: float, error: str) -> Outcome:
    """The outcome of a run that failed, and the reason in its folder, where reports look."""
    with contextlib.suppress(OSError):  # the folder may be gone
        write_text(run.folder / "FAILED", error + "\n")
    return Outcome(run, "failed", seconds, error)


def summarize(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """What a sweep came to: counts, and for each failure its last line and folder."""
    done = sum(state(run) == "done" for run in plan.runs)
    lines = [f"{done} of {len(plan.runs)} runs are done: {plan.folder}"]
    for outcome in outcomes:
        if outcome.state == "failed":
            reason = (outcome.error.strip().splitlines() or ["(no message)"])[-1]
            lines.append(f"  failed: {outcome.run.name}: {reason}")
            lines.append(f"          {outcome.run.folder / 'FAILED'}")
        elif outcome.state == "busy":
            holder = claims.holder(outcome.run.folder)
            how = f"trained by {holder}" if holder else "begun by others while this sweep ran"
            lines.append(f"  {how}: {outcome.run.name}")
    if done < len(plan.runs):
        lines.append("The same command goes on with what is not done.")
    return "\n".join(lines)
