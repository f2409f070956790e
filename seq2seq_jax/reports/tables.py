"""The table of a sweep: a row a cell, mean and standard deviation over seeds, and what to know."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seq2seq_jax.reports import notes
from seq2seq_jax.reports.columns import COLUMNS, DEFAULT_COLUMNS, Column
from seq2seq_jax.reports.published import Published, read_published
from seq2seq_jax.reports.results import Results
from seq2seq_jax.reports.significance import Comparison
from seq2seq_jax.types import InputError


class Value(NamedTuple):
    """A metric of one cell in the column's unit; sd is the sample's (n - 1), None for one seed."""

    mean: float
    sd: float | None
    n: int
    best: bool = False
    p: float | None = None  # of the difference from the baseline


class Row(NamedTuple):
    """seeds: how many ended well; expected: how many there should be; status: why fewer."""

    cell: str
    values: dict[str, Value]
    published: dict[str, Published]
    seeds: int
    expected: int
    status: str


class Table(NamedTuple):
    columns: list[Column]
    published: list[str]  # metrics that have published numbers
    rows: list[Row]
    comparisons: list[Comparison]  # differences in the columns' units
    baseline: str
    notes: list[str]
    made_by: list[tuple[str, str]]  # command, seeds, device and so on
    missing: list[str]  # runs and files that are not in the table, with the reason


def make_table(
    results: Results, comparisons: list[Comparison], published: str | Path | None = None
) -> Table:
    """The table of all cells in the sweep's order, then rows that only exist in `published`.

    Columns: those of sweep.json, else DEFAULT_COLUMNS and what `published` has numbers for.
    `comparisons` are those of `compare_with_baseline`, shown where their metric is a column;
    `published` is a file for `read_published`. Raises InputError for unknown columns in sweep.json
    and what `read_published` refuses.
    """
    elsewhere = read_published(Path(published)) if published else {}
    values = {cell: _values(results, cell) for cell in results.cells}
    wanted = {*DEFAULT_COLUMNS, *(metric for row in elsewhere.values() for metric in row)}
    named = results.columns or [metric for metric in COLUMNS if metric in wanted]
    unknown = [metric for metric in named if metric not in COLUMNS]
    if unknown:
        raise InputError(
            f"{results.folder / 'sweep.json'}: unknown columns {', '.join(unknown)}; "
            f"there are: {', '.join(COLUMNS)}"
        )
    present = {metric for cell in values.values() for metric in cell}
    present |= {metric for row in elsewhere.values() for metric in row}
    columns = [COLUMNS[metric] for metric in named if metric in present]
    _mark_best(columns, values)
    comparisons = [
        item._replace(**{x: getattr(item, x) * COLUMNS[item.metric].scale for x in _UNITS})
        for item in comparisons
        if COLUMNS[item.metric] in columns
    ]
    for item in comparisons:
        if item.metric in values[item.cell]:
            values[item.cell][item.metric] = values[item.cell][item.metric]._replace(p=item.p)
    rows = [
        Row(cell, values[cell], elsewhere.pop(cell, {}), *_status(results, cell))
        for cell in results.cells
    ]
    with_published = {metric for row in rows for metric in row.published}
    with_published |= {metric for row in elsewhere.values() for metric in row}
    rows += [Row(name, {}, numbers, 0, 0, "published") for name, numbers in elsewhere.items()]
    return Table(
        columns=columns,
        published=[column.metric for column in columns if column.metric in with_published],
        rows=rows,
        comparisons=comparisons,
        baseline=results.baseline,
        notes=[
            *notes.reading(results.baseline, _spread(rows), bool(comparisons)),
            *notes.signatures(results, [column.metric for column in columns]),
            *_sources(rows),
            *notes.padding(results),
        ],
        made_by=notes.made_by(results),
        missing=notes.missing(results),
    )


_UNITS = ("difference", "low", "high")


def _values(results: Results, cell: str) -> dict[str, Value]:
    """Every metric of the finished seeds, in the unit of its column."""
    finished = results.finished(cell)
    runs, finals = results.runs, results.finals
    numbers: dict[str, list[float]] = {}
    for seed in finished:
        here = finals[(finals["cell"] == cell) & (finals["seed"] == seed)]
        row: dict[str, Any] = dict(zip(here["metric"], here["value"], strict=True))
        run = runs[(runs["cell"] == cell) & (runs["seed"] == seed)].iloc[0]
        row |= {name: run[name] for name in ("parameters", "seconds") if run[name] == run[name]}
        for metric, value in row.items():
            if metric in COLUMNS and value is not None:
                numbers.setdefault(metric, []).append(float(value) * COLUMNS[metric].scale)
    values = {}
    for metric, sample in numbers.items():
        with np.errstate(invalid="ignore"):  # a diverged seed makes mean and sd inf or nan: shown
            sd = float(np.std(sample, ddof=1)) if len(sample) > 1 else None
            values[metric] = Value(float(np.mean(sample)), sd, len(sample))
    return values


def _mark_best(columns: list[Column], values: dict[str, dict[str, Value]]) -> None:
    """Marks the best mean of a column, with all that look the same in print; none if all do."""
    for metric, _, better, _, digits in columns:
        means = {
            cell: round(row[metric].mean, digits)
            for cell, row in values.items()
            if metric in row and math.isfinite(row[metric].mean)
        }
        if better and len(set(means.values())) > 1:
            best = max(means.values()) if better == "higher" else min(means.values())
            for cell, mean in means.items():
                values[cell][metric] = values[cell][metric]._replace(best=mean == best)


def _status(results: Results, cell: str) -> tuple[int, int, str]:
    """(seeds that ended well, seeds, why fewer in a few words)."""
    states = results.runs[results.runs["cell"] == cell]["state"].tolist()
    others = [name for name in ("running", "failed", "missing") if name in states]
    status = ", ".join(f"{states.count(name)} {name}" for name in others)
    return states.count("finished"), len(states), status


def _spread(rows: list[Row]) -> bool:
    return any(value.sd is not None for row in rows for value in row.values.values())


def _sources(rows: list[Row]) -> list[str]:
    """Where the published numbers are from."""
    return [
        f"Published: {row.cell}, {COLUMNS[metric].title} {number.value}: {number.source} "
        f"({number.certainty})"
        for row in rows
        for metric, number in row.published.items()
    ]
