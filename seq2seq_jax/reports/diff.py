"""Two sweeps side by side: cells of the same name, metric by metric, and what was set otherwise."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from seq2seq_jax.reports import notes
from seq2seq_jax.reports.columns import COLUMNS, with_beam
from seq2seq_jax.reports.differences import Difference, Value, differences
from seq2seq_jax.reports.grids import (
    ARROWS,
    NOTHING,
    Entry,
    Grid,
    Printed,
    difference_entries,
    marks,
    value_text,
)
from seq2seq_jax.reports.results import Results, one_training
from seq2seq_jax.reports.significance import compare_with_baseline, not_comparable
from seq2seq_jax.reports.tables import cell_values
from seq2seq_jax.training.twins import TESTED


class Line(NamedTuple):
    """One metric of a cell that both sweeps have."""

    ours: Value
    theirs: Value
    difference: Difference


class Diff(NamedTuple):
    """ours, theirs: names of the sweeps; settings: (key, theirs, ours, cells); notes: below."""

    ours: str
    theirs: str
    lines: list[Line]
    settings: list[tuple[str, str, str, str]]
    notes: list[str]


def compare_sweeps(results: Results, other: Results, metrics: Sequence[str]) -> Diff:
    """Every cell that both have, ours minus theirs: the tests are those against a baseline.

    `metrics`: the columns of our table. Cells of one sweep alone, and cells without a finished
    seed on a side, are named in the notes.
    """
    ours, theirs = _names(results, other)
    both = [cell for cell in results.cells if cell in other.cells]
    lines, problems = [], []
    for cell in both:
        here, there = cell_values(results, cell), cell_values(other, cell)
        pair = _pair(results, other, cell)
        comparisons = [item._replace(cell=cell) for item in compare_with_baseline(pair, metrics)]
        untested = "not tested" if not_comparable(pair, "ours") else "no bootstrap"
        problems += [f"{cell}: {untested} ({why})" for why in pair.not_compared.values()]
        found = differences(cell, here, there, metrics, comparisons)
        searched = _searched_otherwise(results.configuration(cell), other.configuration(cell))
        if searched:
            problems.append(f"{cell}: no test over seeds (the same trainings, searched otherwise)")
        if searched or not_comparable(pair, "ours"):
            found = [item._replace(p_seeds=None) for item in found]
        for side, own, others in ((ours, here, there), (theirs, there, here)):
            alone = [name for name in with_beam(metrics) if name in own and name not in others]
            if others and alone:
                titles = ", ".join(COLUMNS[name].title for name in alone)
                problems.append(f"Only in {side}: {titles} of {cell}")
        lines += [Line(here[item.metric], there[item.metric], item) for item in found]
    found = [line.difference for line in lines]
    spread = any(v.sd is not None for line in lines for v in (line.ours, line.theirs))
    below = [
        *(f"Only in {ours}: {cell}" for cell in results.cells if cell not in both),
        *(f"Only in {theirs}: {cell}" for cell in other.cells if cell not in both),
        *notes.reading(theirs, spread, found),
        *problems,
        *(f"{ours}: {text}" for text in notes.missing(results)),
        *(f"{theirs}: {text}" for text in notes.missing(other)),
    ]
    return Diff(ours, theirs, lines, _settings(results, other, both), below)


def printed_diff(diff: Diff) -> Printed:
    """A grid a metric, then one of the settings that differ."""
    grids = []
    for metric in dict.fromkeys(line.difference.metric for line in diff.lines):
        column = COLUMNS[metric]
        title = column.title + ARROWS[column.better]
        lines = [line for line in diff.lines if line.difference.metric == metric]
        headers, tests = difference_entries([line.difference for line in lines], "difference")
        rows = [
            [
                Entry(line.difference.cell, order=line.difference.cell),
                Entry(value_text(column, line.ours) + marks(line.difference), order=line.ours.mean),
                Entry(value_text(column, line.theirs), order=line.theirs.mean),
                *entries,
                Entry(f"{line.ours.n} / {line.theirs.n}", order=line.ours.n),
            ]
            for line, entries in zip(lines, tests, strict=True)
        ]
        names = [f"{title}, {diff.ours}", f"{title}, {diff.theirs}"]
        grids.append((["cell", *names, *headers, "seeds"], rows))
    title = f"{diff.ours} minus {diff.theirs}"
    return Printed(title, [*grids, *_settings_grid(diff)], diff.notes)


def diff_csv(diff: Diff) -> str:
    """A line for each cell and metric, unrounded, in the metric's unit."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    sides = [f"{side}{part}" for side in ("ours", "theirs") for part in ("", " sd", " n")]
    tests = ["difference", "low", "high", "p sentences", "p seeds"]
    writer.writerow(["cell", "metric", *sides, *tests])
    for ours, theirs, item in diff.lines:
        values = [ours.mean, ours.sd, ours.n, theirs.mean, theirs.sd, theirs.n]
        writer.writerow([item.cell, COLUMNS[item.metric].title, *values, *item[2:]])
    return file.getvalue()


def _names(results: Results, other: Results) -> tuple[str, str]:
    """The folders' names, or all of the paths where these are the same."""
    ours, theirs = results.folder.resolve(), other.folder.resolve()
    same = ours.name == theirs.name
    return (str(ours), str(theirs)) if same else (ours.name, theirs.name)


def _pair(results: Results, other: Results, cell: str) -> Results:
    """A sweep of two cells, `ours` and the baseline `theirs`, made of one cell of each sweep."""
    folders, runs = {}, []
    for name, side in (("theirs", other), ("ours", results)):
        folders |= {(name, seed): path for (c, seed), path in side.folders.items() if c == cell}
        runs.append(side.runs[side.runs["cell"] == cell][["seed", "state"]].assign(cell=name))
    return dataclasses.replace(
        results,
        folders=folders,
        cells=["theirs", "ours"],
        baseline="theirs",
        runs=pd.concat(runs),
        problems=other.problems,  # what is read here for the first time is theirs
        not_compared={},
    )


def _searched_otherwise(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Configurations that are equal throughout are another matter: of two versions of the code, of
    which one may lack a key, or of two machines."""
    searches = ((ours.get(key), theirs.get(key)) for key in TESTED if key != "evaluation.show")
    return one_training(ours, theirs) and any(a != b for a, b in searches if None not in (a, b))


def _settings(
    results: Results, other: Results, cells: list[str]
) -> list[tuple[str, str, str, str]]:
    """(key, theirs, ours, the cells where they differ so), first of the runs, then of the sweep."""
    pairs = {cell: (other.configuration(cell), results.configuration(cell)) for cell in cells}
    pairs = {cell: pair for cell, pair in pairs.items() if all(pair)}
    differing: dict[tuple[str, str, str], list[str]] = {}
    for cell, (theirs, ours) in pairs.items():
        for key in {**theirs, **ours}:
            there, here = (json.dumps(x[key]) if key in x else "" for x in (theirs, ours))
            if there != here and key != "seed" and not key.startswith("sweep."):
                differing.setdefault((key, there, here), []).append(cell)
    found = [
        (*setting, "all" if len(names) == len(pairs) else ", ".join(names))
        for setting, names in differing.items()
    ]
    made, made_there = dict(notes.made_by(results)), dict(notes.made_by(other))
    for title in {**made_there, **made}:
        there, here = made_there.get(title, ""), made.get(title, "")
        if there != here:
            found.append((title, there, here, "all"))
    return found


def _settings_grid(diff: Diff) -> list[Grid]:
    rows = []
    for key, theirs, ours, where in diff.settings:
        texts = (key, ours or NOTHING, theirs or NOTHING, where)
        rows.append([Entry(text, order=text) for text in texts])
    return [(["set otherwise", diff.ours, diff.theirs, "cells"], rows)] if rows else []
