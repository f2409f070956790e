"""Reads the folder of a sweep, or of one run, finished or not, into data frames.

Nothing else is read than sweep.json and, for each run, config.json, population.json,
environment.json, metrics.jsonl, claim.json, predictions/, DONE and FAILED. An ensemble of runs that
was saved among the cells is read as a run; it has ensemble.json and no config.json.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from seq2seq_jax.config import flatten
from seq2seq_jax.config_checks import nearest
from seq2seq_jax.reports.json_files import fits, read_lines, read_object
from seq2seq_jax.sweeps import claims
from seq2seq_jax.training.twins import of_training
from seq2seq_jax.types import InputError

RUN_COLUMNS = ["cell", "seed", "state", "step", "members", "parameters", "seconds", "reason"]
FINAL_COLUMNS = ["cell", "seed", "metric", "value"]
CURVE_COLUMNS = ["cell", "seed", "step", "metric", "value"]
NO_SWEEP: dict[str, Any] = {
    "config": "",
    "command": "",
    "cells": [],
    "seeds": [],
    "baseline": "",
}
NUMBER = int | float
NUMBERS = {int, float}
LARGEST_STEP = 2**63  # that a data frame holds
# What the files must hold where they hold it; a prediction must have all of it.
SWEEP = {
    "config": str,
    "command": str,
    "cells": [{"name": str, "overrides": dict}],
    "seeds": [int],
    "baseline": str,
}
ENVIRONMENT = {
    "versions": dict,
    "platform": str,
    "device": str,
    "devices": int,
    "cores": int | None,
    "commit": str,
    "command": str,
}
DONE = {"best_step": int, "parameters": int, "seconds": NUMBER, "reason": str}
ENSEMBLE = {"members": [str], "average": [int]}
PREDICTION = {
    "index": int,
    "source": str,
    "reference": str | None,
    "references?": [str],
    "hypothesis": str,
    "score": NUMBER | None,
    "source_tokens": [str],
    "hypothesis_tokens": [str],
    "alignment": ([list], None),
    "gold": ([[int]], None),
}


@dataclass(frozen=True)
class Results:
    """What a sweep has produced so far. A run is one seed of one cell.

    runs: one row a run: cell, seed, state (finished | running | stopped | failed | missing), step
    (the last one logged, or the best step of a finished run), members (of an ensemble, else none),
    parameters, seconds, reason (of the end or of the failure) and a column for every setting that
    varies over the cells (`settings`).
    finals: the "test/" metrics of every run, without that prefix. curves: all other metrics by
    step, as logged ("valid/bleu"). problems: what could not be read, one line each.

    Filled later: not_compared, cell -> why `compare_with_baseline` left it out; cache, by `tested`.
    """

    folder: Path
    folders: dict[tuple[str, int], Path]
    cells: list[str]
    baseline: str
    settings: list[str]
    runs: pd.DataFrame
    finals: pd.DataFrame
    curves: pd.DataFrame
    command: str = ""
    config: str = ""
    environments: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    not_compared: dict[str, str] = field(default_factory=dict)
    cache: dict[tuple[Path, str], Any] = field(default_factory=dict, repr=False)

    def finished(self, cell: str) -> list[int]:
        """The seeds of a cell that have ended well, in order."""
        rows = self.runs[(self.runs["cell"] == cell) & (self.runs["state"] == "finished")]
        return sorted(int(seed) for seed in rows["seed"])

    @property
    def trained(self) -> pd.DataFrame:
        """The rows of `runs` that are no ensembles."""
        return self.runs[self.runs["members"].isna()]

    @property
    def progress(self) -> str:
        """`4 of 6 runs finished`"""
        finished = int((self.trained["state"] == "finished").sum())
        return f"{finished} of {len(self.trained)} runs finished"

    def predictions(self, cell: str, seed: int, split: str) -> list[dict[str, Any]]:
        """The lines of predictions/<split>.jsonl; empty where the run has not written them."""
        path = self.folders[cell, seed] / "predictions" / f"{split}.jsonl"
        is_right = _is_prediction if split == "show" else _is_tested
        return [line for _, line in read_lines(path, self.problems, is_right)]

    def has_predictions(self, cell: str, seed: int) -> bool:
        """Whether the run has written greedy translations of the test."""
        path = self.folders[cell, seed] / "predictions" / "test.jsonl"
        return path.exists() and path.stat().st_size > 0

    def configuration(self, cell: str) -> dict[str, Any]:
        """Dotted key -> value of the first of the cell's runs that has a config; empty: none."""
        paths = [path for (name, _), path in self.folders.items() if name == cell]
        configs = (flatten(read_object(path / "config.json", self.problems)) for path in paths)
        return next((config for config in configs if config), {})

    def same_training(self, cell: str, other: str) -> bool:
        """Whether each seed of two cells is one training, of which two searches are tested."""
        return one_training(self.configuration(cell), self.configuration(other))

    def ensemble(self, cell: str, seed: int) -> dict[str, Any]:
        """ensemble.json: what it is made of; a run has no `members`."""
        return _ensemble(self.folders[cell, seed], self.problems)

    def evaluation(self, cell: str, seed: int, split: str) -> dict[str, Any]:
        """predictions/<split>.json: how the split was evaluated; empty where there is none."""
        path = self.folders[cell, seed] / "predictions" / f"{split}.json"
        return read_object(path, self.problems)


def read_results(workdir: str | Path, baseline: str = "") -> Results:
    """Reads the folder of a sweep or of a single run; `baseline` replaces the sweep's.

    Raises InputError where the folder is neither, and for a baseline that is no cell.
    """
    folder = Path(workdir)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the --workdir of a sweep or a run")
    problems: list[str] = []
    sweep = NO_SWEEP | read_object(folder / "sweep.json", problems, SWEEP)
    folders = _run_folders(folder, sweep)
    if not folders:
        raise InputError(
            f"{folder}: neither a sweep (sweep.json, or <cell>/seed<k>/) nor a run (config.json)"
        )
    cells = list(dict.fromkeys(cell for cell, _ in folders))
    configs = {
        run: flatten(read_object(path / "config.json", problems)) for run, path in folders.items()
    }
    environments = [
        read_object(path / "environment.json", problems, ENVIRONMENT) for path in folders.values()
    ]
    overrides = {cell["name"]: cell["overrides"] for cell in sweep["cells"]}
    settings = _settings(cells, configs, overrides)

    runs, finals, curves = [], [], []
    for (cell, seed), path in folders.items():
        logged, final, step = _metrics(path / "metrics.jsonl", problems)
        state = _state(path, step, problems)
        runs.append({"cell": cell, "seed": seed, **state, **settings[cell]})
        finals += [(cell, seed, metric, value) for metric, value in final.items()]
        curves += [(cell, seed, step, metric, value) for (step, metric), value in logged.items()]
    names = list(next(iter(settings.values())))
    if sweep["baseline"] and sweep["baseline"] not in cells:
        problems.append(f"the baseline {sweep['baseline']!r} of sweep.json is no cell")
    wished = [config["sweep.baseline"] for config in configs.values() if "sweep.baseline" in config]
    if baseline and baseline not in cells:
        known = ", ".join(cells)
        raise InputError(f"baseline {baseline}: no such cell{nearest(baseline, cells)} ({known})")
    named = (baseline, sweep["baseline"], *wished, cells[0])
    baseline = next(name for name in named if name in cells)
    commands = [environment["command"] for environment in environments if "command" in environment]
    return Results(
        folder=folder,
        folders=folders,
        cells=cells,
        baseline=baseline,
        settings=names,
        runs=pd.DataFrame(runs, columns=[*RUN_COLUMNS, *names]),
        finals=pd.DataFrame(finals, columns=FINAL_COLUMNS),
        curves=pd.DataFrame(curves, columns=CURVE_COLUMNS),
        command=sweep["command"] or next(iter(commands), ""),
        config=sweep["config"],
        environments=[environment for environment in environments if environment],
        problems=problems,
    )


def one_training(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two configurations (`Results.configuration`) train alike."""
    both = [of_training({**config, "seed": 0}) for config in (ours, theirs) if config]
    return len(both) == 2 and both[0] == both[1]


def _is_prediction(line: Mapping[str, Any]) -> bool:
    """Whether it is of the form that this version writes, and its parts are of one size."""
    if not fits(line, PREDICTION) or line.get("references") == []:
        return False
    rows, size = line["alignment"], len(line["source_tokens"])
    aligned = rows is None or (
        len(rows) == len(line["hypothesis_tokens"])
        and all(len(row) == size and {*map(type, row)} <= NUMBERS for row in rows)
    )
    return aligned and all(len(link) == 2 for link in line["gold"] or [])


def _is_tested(line: Mapping[str, Any]) -> bool:
    return _is_prediction(line) and line["reference"] is not None


def references_of(line: Mapping[str, Any]) -> tuple[str, ...]:
    """All references of a line of predictions/<split>.jsonl."""
    return tuple(line["references"]) if "references" in line else (line["reference"],)


def _run_folders(folder: Path, sweep: dict[str, Any]) -> dict[tuple[str, int], Path]:
    """(cell, seed) -> folder, in the sweep's order; expected runs whether they exist or not."""
    expected = [(cell["name"], int(seed)) for cell in sweep["cells"] for seed in sweep["seeds"]]
    found = sorted(
        (path.parent.name, int(match[1]))
        for path in folder.glob("*/seed*")
        if path.is_dir() and (match := re.fullmatch(r"seed(\d+)", path.name))
    )
    if expected or found:
        # Runs of an earlier form of the sweep stay visible, after the expected ones.
        runs = dict.fromkeys(expected + found)
        order = list(dict.fromkeys(cell for cell, _ in runs))
        ordered = sorted(runs, key=lambda run: (order.index(run[0]), run[1]))
        return {(cell, seed): folder / cell / f"seed{seed}" for cell, seed in ordered}
    if (folder / "config.json").exists():
        config = {"seed": 0} | read_object(folder / "config.json", [], {"seed": int})
        return {(folder.resolve().name, config["seed"]): folder}
    return {}


def _state(path: Path, step: int | None, problems: list[str]) -> dict[str, Any]:
    """How far a run has come; step: the last one logged."""
    members = len(_ensemble(path, problems)["members"]) or None
    state = {"step": step, "members": members, "parameters": None, "seconds": None, "reason": ""}
    if (path / "DONE").exists():
        written = read_object(path / "DONE", problems, DONE)
        done = {**state, "best_step": step, **{key: written[key] for key in DONE if key in written}}
        return {
            "state": "finished",
            **{name: done[name] for name in state},
            "step": done["best_step"],
        }
    if (path / "FAILED").exists():
        text = (path / "FAILED").read_text(encoding="utf-8", errors="replace").strip()
        # A message is a reason as a whole; of a traceback or a log the last line tells most.
        lines = [text] if text.startswith("error:") else text.splitlines()
        printable = "".join(c if c.isprintable() else " " for c in lines[-1]) if lines else ""
        reason = " ".join(printable.split()) or "no reason was written"
        return {"state": "failed", **state, "reason": reason}
    # A sweep writes every config.json before the first run starts; a run writes the others.
    started = any((path / name).exists() for name in ("environment.json", "metrics.jsonl"))
    if not started:
        return {"state": "missing", **state}
    return {"state": "running" if claims.holder(path) else "stopped", **state}


def _ensemble(path: Path, problems: list[str]) -> dict[str, Any]:
    return {"members": [], "average": []} | read_object(path / "ensemble.json", problems, ENSEMBLE)


def _metrics(
    path: Path, problems: list[str]
) -> tuple[dict[tuple[int, str], float], dict[str, float], int | None]:
    """Logged values by (step, metric), the final "test/" ones without that prefix, the last step.

    The last value counts where a resumed run has written a step twice.
    """
    logged, final, last = {}, {}, None
    for row, line in read_lines(path, problems):
        if not isinstance(line.get("step"), int) or abs(line["step"]) >= LARGEST_STEP:
            problems.append(f"{path}:{row}: expected a whole number as step; the line is left out")
            continue
        last = max(line["step"], last or 0)
        for metric, value in line.items():
            number = float("nan") if value is None else value
            if not isinstance(number, int | float) or _overflows(number):
                problems.append(f"{path}:{row}: expected a number as {metric}; it is left out")
            elif metric.startswith("test/"):
                final[metric.removeprefix("test/")] = number
            elif metric != "step":
                logged[line["step"], metric] = number
    return logged, final, last


def _overflows(number: int | float) -> bool:
    """Of whole numbers, which JSON and Python know without a limit."""
    return isinstance(number, int) and abs(number) > sys.float_info.max


def _settings(
    cells: list[str], configs: dict[tuple[str, int], dict], overrides: dict[str, dict]
) -> dict[str, dict[str, Any]]:
    """cell -> the settings that vary over the cells: as the sweep says, else as the configs do."""
    first: dict[str, dict[str, Any]] = {cell: {} for cell in cells}
    for (cell, _), config in configs.items():
        first[cell] = first[cell] or config
    if overrides:
        names = list(dict.fromkeys(name for cell in overrides.values() for name in cell))
    else:
        known = [config for config in first.values() if config]
        keys = dict.fromkeys(key for config in known for key in config)
        names = [
            key
            for key in keys
            if key != "seed"
            and len({json.dumps(config[key]) if key in config else "" for config in known}) > 1
        ]
    # Not how it is laid out, nor what a run's row has anyway.
    names = [name for name in names if not name.startswith("sweep.") and name not in RUN_COLUMNS]
    nothing = dict.fromkeys(names)
    full = {cell: nothing | first[cell] for cell in cells}
    for cell in cells:
        full[cell] |= overrides.get(cell, {})
    return {cell: {name: full[cell][name] for name in names} for cell in cells}
