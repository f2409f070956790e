"""The table of a sweep: a row a cell, mean and standard deviation over seeds, and what to know."""

import math
from typing import Any, NamedTuple

import numpy as np

from seq2seq_jax.config_checks import nearest
from seq2seq_jax.reports import notes
from seq2seq_jax.reports.columns import COLUMNS, DEFAULT_COLUMNS, Column, with_beam
from seq2seq_jax.reports.differences import Difference, Value, differences
from seq2seq_jax.reports.paper import Paper
from seq2seq_jax.reports.published import Published
from seq2seq_jax.reports.results import Results
from seq2seq_jax.reports.significance import OTHER_SENTENCES, Comparison, not_comparable
from seq2seq_jax.reports.verdicts import same_order, verdict

COST = ("members", "parameters", "seconds")  # stand at the end of every paper's table
NOT_HERE = "not in this sweep"
OURS_ALONE = Paper()


class Row(NamedTuple):
    """seeds: how many ended well; expected: how many there should be; status: why fewer.

    name: what the row is called, by the paper (then "" for a cell that it has not) or by us; cell:
    ours, "" where we have none.
    verdicts: metric -> where our number stands beside the published one.
    """

    name: str
    cell: str
    values: dict[str, Value]
    published: dict[str, Published]
    verdicts: dict[str, str]
    seeds: int
    expected: int
    status: str


class Table(NamedTuple):
    title: str
    columns: list[Column]
    published: list[str]  # metrics that have published numbers
    rows: list[Row]
    differences: list[Difference]  # of every other cell from the baseline
    baseline: str
    notes: list[str]
    made_by: list[tuple[str, str]]  # command, seeds, device and so on
    missing: list[str]  # runs and files that are not in the table, with the reason


def make_table(results: Results, comparisons: list[Comparison], paper: Paper = OURS_ALONE) -> Table:
    """The rows of `paper` in its order, then our other cells, then other published rows.

    Columns: those that are `wanted`; behind a score of translations that of beam search, where some
    run has it. `comparisons` are those of `compare_with_baseline`.
    """
    values = {cell: cell_values(results, cell) for cell in results.cells}
    with_published = _with_published(paper)
    present = {metric for cell in values.values() for metric in cell} | with_published
    columns = [COLUMNS[metric] for metric in with_beam(wanted(paper)) if metric in present]
    elsewhere = [cell for cell, why in results.not_compared.items() if why == OTHER_SENTENCES]
    _mark_best(columns, {cell: own for cell, own in values.items() if cell not in elsewhere})
    differing = _differences(results, values, columns, comparisons)
    rows = [_row(results, values, paper, name, cell) for name, cell in _order(results, paper)]
    return Table(
        title=paper.title,
        columns=columns,
        published=[column.metric for column in columns if column.metric in with_published],
        rows=rows,
        differences=differing,
        baseline=results.baseline,
        notes=[
            *paper.notes,
            *notes.reading(f"the baseline {results.baseline}", _spread(rows), differing),
            *notes.verdicts([word for row in rows for word in row.verdicts.values()]),
            *([] if paper.comparable else _orders(columns, rows)),
            *notes.not_compared(results),
            *(notes.same_trainings(results) if _spread(rows) else []),
            *notes.ensembles(results),
            *notes.signatures(results, [column.metric for column in columns]),
            *_sources(rows),
            *notes.padding(results),
        ],
        made_by=notes.made_by(results),
        missing=[*_not_here(results, paper), *notes.missing(results)],
    )


def wanted(paper: Paper) -> list[str]:
    """The metrics of the columns: the paper's with what a run costs, else DEFAULT_COLUMNS and what
    has published numbers."""
    if paper.columns:
        return [*paper.columns, *COST]
    return [metric for metric in COLUMNS if metric in {*DEFAULT_COLUMNS, *_with_published(paper)}]


def _with_published(paper: Paper) -> set[str]:
    return {metric for numbers in paper.published.values() for metric in numbers}


def _order(results: Results, paper: Paper) -> list[tuple[str, str]]:
    """(name, cell) of every row; no cell, or no name in a paper that has names: ""."""
    others = [cell for cell in results.cells if cell not in paper.rows.values()]
    ours = [("" if paper.rows else cell, cell) for cell in others]
    listed = [(name, cell or "") for name, cell in paper.rows.items()]
    alone = [(name, "") for name in paper.published if name not in dict([*listed, *ours])]
    return [*listed, *ours, *alone]


def _row(
    results: Results, values: dict[str, dict[str, Value]], paper: Paper, name: str, cell: str
) -> Row:
    published = dict(paper.published[name]) if name in paper.published else {}
    if cell not in values:
        return Row(name, cell, {}, published, {}, 0, 0, NOT_HERE if cell else "published")
    verdicts = {
        metric: verdict(published[metric], value.mean, value.sd, COLUMNS[metric].digits)
        for metric, value in values[cell].items()
        if metric in published and paper.comparable
    }
    return Row(name, cell, values[cell], published, verdicts, *_status(results, cell))


def _orders(columns: list[Column], rows: list[Row]) -> list[str]:
    """Where numbers cannot be compared, whether their order is the same."""
    notes = ["No verdicts: ours and the published numbers are of other data or another size."]
    for metric, title, *_ in columns:
        both = [row for row in rows if metric in row.values and metric in row.published]
        same, pairs = same_order(
            (row.cell, float(row.published[metric].value), row.values[metric].mean) for row in both
        )
        unverified = sum(row.published[metric].unverified for row in both)
        if pairs:
            notes.append(
                f"{title}: {same} of {pairs} pairs of rows stand in the published order"
                f"{f' ({unverified} of {len(both)} numbers are unverified)' * bool(unverified)}."
            )
    return notes


def _not_here(results: Results, paper: Paper) -> list[str]:
    """Rows of the paper whose cell the sweep does not plan."""
    return [
        f"Not in this sweep: {name}: no cell {cell}{nearest(cell, results.cells)}"
        for name, cell in paper.rows.items()
        if cell and cell not in results.cells
    ]


def _differences(
    results: Results,
    values: dict[str, dict[str, Value]],
    columns: list[Column],
    comparisons: list[Comparison],
) -> list[Difference]:
    """Of every cell that can be compared with the baseline; their p are written to `values` too,
    for the marks."""
    metrics = [column.metric for column in columns if column.better]
    baseline, found = values[results.baseline], []
    for cell in values:
        if cell != results.baseline and not not_comparable(results, cell):
            own = differences(cell, values[cell], baseline, metrics, comparisons)
            if results.same_training(cell, results.baseline):
                own = [item._replace(p_seeds=None) for item in own]
            found += own
    for item in found:
        here = values[item.cell]
        here[item.metric] = here[item.metric]._replace(p=item.p, p_seeds=item.p_seeds)
    return [item for item in found if item.p is not None or item.p_seeds is not None]


def cell_values(results: Results, cell: str) -> dict[str, Value]:
    """Every metric of the finished seeds, in the unit of its column."""
    finished = results.finished(cell)
    runs, finals = results.runs, results.finals
    numbers: dict[str, list[float]] = {}
    for seed in finished:
        here = finals[(finals["cell"] == cell) & (finals["seed"] == seed)]
        row: dict[str, Any] = dict(zip(here["metric"], here["value"], strict=True))
        run = runs[(runs["cell"] == cell) & (runs["seed"] == seed)].iloc[0]
        row |= {name: run[name] for name in COST if run[name] == run[name]}
        for metric, value in row.items():
            if metric in COLUMNS and value is not None:
                numbers.setdefault(metric, []).append(float(value) * COLUMNS[metric].scale)
    values = {}
    for metric, sample in numbers.items():
        # A diverged seed makes mean and sd inf or nan: they are shown.
        with np.errstate(invalid="ignore", over="ignore"):
            sd = float(np.std(sample, ddof=1)) if len(sample) > 1 else None
            mean = float(np.mean(sample))
        if sd is not None and len(set(sample)) == 1:  # rounding would leave a spread
            mean, sd = sample[0], 0.0
        values[metric] = Value(mean, sd, len(sample))
    return values


def _mark_best(columns: list[Column], values: dict[str, dict[str, Value]]) -> None:
    """Marks the best mean of a column, with all that look the same in print; none if all do.

    `values`: of cells with the same test."""
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
    others = [name for name in ("running", "stopped", "failed", "missing") if name in states]
    status = ", ".join(f"{states.count(name)} {name}" for name in others)
    return states.count("finished"), len(states), status


def _spread(rows: list[Row]) -> bool:
    return any(value.sd is not None for row in rows for value in row.values.values())


def _sources(rows: list[Row]) -> list[str]:
    """Where the published numbers are from."""
    return [
        f"Published: {row.name}, {COLUMNS[metric].title} {number.text}: {number.source} "
        f"({number.certainty})"
        for row in rows
        for metric, number in row.published.items()
    ]
