"""What of a table is printed, and in what order: headers and entries as text, in all formats."""

from typing import NamedTuple

from seq2seq_jax.reports.columns import COLUMNS, Column
from seq2seq_jax.reports.differences import Difference, Value
from seq2seq_jax.reports.notes import SIGNIFICANT
from seq2seq_jax.reports.tables import Row, Table

ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
NOTHING = "-"
LONG = 1e12  # from here on numbers are written with an exponent


class Entry(NamedTuple):
    """One place of the printed table; order is what it is sorted by (None: last)."""

    text: str
    best: bool = False
    order: float | str | None = None


Grid = tuple[list[str], list[list[Entry]]]  # headers, and a list of entries for each row


def of_words(grid: Grid) -> list[bool]:
    """Which columns hold words, to stand at the left; numbers stand at the right."""
    headers, rows = grid
    return [
        not index or any(isinstance(row[index].order, str) for row in rows)
        for index in range(len(headers))
    ]


class Printed(NamedTuple):
    """What a format has to show: grids one after the other, then notes."""

    title: str
    grids: list[Grid]
    notes: list[str]


def printed(table: Table) -> Printed:
    """A table, its differences from the baseline, and all that stands below."""
    made = [f"{title}: {text}" for title, text in table.made_by]
    below = [*table.notes, *made, *table.missing]
    return Printed(table.title, [grid(table), *difference_grids(table)], below)


def grid(table: Table) -> Grid:
    """The table as it is printed: headers, and a list of entries for each row."""
    named = has_names(table)
    judged = judged_metrics(table)
    headers = ["row", "cell"] if named else ["cell"]
    for column in table.columns:
        headers.append(column.title + ARROWS[column.better])
        headers += [f"{column.title}, published"] * (column.metric in table.published)
        headers += [f"{column.title}, verdict"] * (column.metric in judged)
    headers.append("seeds")
    with_status = any(row.status for row in table.rows)
    lines = []
    for row in table.rows:
        mark = " (baseline)" * _is_baseline(table, row)
        line = [Entry((row.cell or row.name) + mark, order=row.cell or None)]
        if named:
            theirs = Entry(row.name, order=row.name) if row.name else Entry(NOTHING)
            line = [theirs, line[0] if row.cell else Entry(NOTHING)]
        for column in table.columns:
            line.append(_entry(column, row))
            if column.metric in table.published:
                line.append(published_entry(column, row))
            if column.metric in judged:
                line.append(verdict_entry(column, row))
        line.append(_seeds(row))
        lines.append([*line, Entry(row.status, order=row.status)] if with_status else line)
    return [*headers, "state"] if with_status else headers, lines


def difference_grids(table: Table) -> list[Grid]:
    """For each metric the differences from the baseline, with what is known of their chance."""
    grids = []
    for metric in dict.fromkeys(item.metric for item in table.differences):
        items = [item for item in table.differences if item.metric == metric]
        title = f"{COLUMNS[metric].title}, difference from {table.baseline}"
        headers, lines = difference_entries(items, title)
        names = [[Entry(item.cell, order=item.cell)] for item in items]
        grids.append((["cell", *headers], [a + b for a, b in zip(names, lines, strict=True)]))
    return grids


def difference_entries(items: list[Difference], title: str) -> Grid:
    """The columns of differences in one metric; a test that none of them had has no column."""
    sentences = any(item.p is not None for item in items)
    seeds = any(item.p_seeds is not None for item in items)
    headers = [title, *(["95% interval", "p (sentences)"] * sentences), *(["p (seeds)"] * seeds)]
    lines = []
    for item in items:
        digits = COLUMNS[item.metric].digits
        line = [Entry(number_text(item.difference, digits, "+"), order=item.difference)]
        if sentences and item.low is not None and item.high is not None:
            interval = " to ".join(number_text(x, digits, "+") for x in (item.low, item.high))
            line += [Entry(interval, order=item.low), _p(item.p)]
        elif sentences:
            line += [Entry(NOTHING), Entry(NOTHING)]
        lines.append([*line, *([_p(item.p_seeds)] * seeds)])
    return headers, lines


def value_text(column: Column, value: Value) -> str:
    """`55.0 ± 7.1`"""
    text = number_text(value.mean, column.digits)
    if value.sd is not None and (column.better or value.sd):
        text += f" ± {number_text(value.sd, column.digits)}"
    return text


def number_text(number: int | float, digits: int, sign: str = "") -> str:
    """`1,234.5`; `5.2e+127` where something has diverged."""
    return f"{number:{sign},.{digits}f}" if abs(number) < LONG else f"{number:{sign}.3g}"


def marks(tested: Value | Difference) -> str:
    """` † ‡`: which of the two tests found a difference."""
    both = ((tested.p, " †"), (tested.p_seeds, " ‡"))
    return "".join(mark for p, mark in both if p is not None and p < SIGNIFICANT)


def _p(p: float | None) -> Entry:
    if p is None:
        return Entry(NOTHING)
    return Entry(f"{p:.3f}" if p >= 0.0005 else "<0.001", order=p)


def _is_baseline(table: Table, row: Row) -> bool:
    return len(table.rows) > 1 and row.cell == table.baseline


def _entry(column: Column, row: Row) -> Entry:
    if column.metric not in row.values:
        return Entry(NOTHING)
    value = row.values[column.metric]
    text = value_text(column, value) + marks(value)
    if value.n < row.seeds:
        text += f" (n = {value.n})"
    return Entry(text, value.best, value.mean)


def published_entry(column: Column, row: Row) -> Entry:
    if column.metric not in row.published:
        return Entry(NOTHING)
    number = row.published[column.metric]
    return Entry(number.text, order=float(number.value))


def verdict_entry(column: Column, row: Row) -> Entry:
    if column.metric not in row.verdicts:
        return Entry(NOTHING)
    text = row.verdicts[column.metric]
    return Entry(text, order=text)


def or_empty(entry: Entry) -> str:
    return "" if entry.text == NOTHING else entry.text


def has_names(table: Table) -> bool:
    """Whether a paper calls our cells by other names."""
    return any(row.cell and row.name not in ("", row.cell) for row in table.rows)


def judged_metrics(table: Table) -> set[str]:
    """The metrics with verdicts."""
    return {metric for row in table.rows for metric in row.verdicts}


def _seeds(row: Row) -> Entry:
    if not row.expected:
        return Entry(NOTHING)
    text = str(row.seeds) if row.seeds == row.expected else f"{row.seeds} of {row.expected}"
    return Entry(text, order=row.seeds)
