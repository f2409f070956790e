"""A table as Markdown, CSV, LaTeX (booktabs) and plain text for the console; all text escaped."""

import csv
import io
import re
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as ConsoleTable
from rich.text import Text

from seq2seq_jax.reports.columns import COLUMNS, Column
from seq2seq_jax.reports.notes import SIGNIFICANT
from seq2seq_jax.reports.tables import Row, Table, Value

ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
NOTHING = "-"


class Entry(NamedTuple):
    """One place of the printed table; order is what it is sorted by (None: last)."""

    text: str
    best: bool = False
    order: float | str | None = None


def grid(table: Table) -> tuple[list[str], list[list[Entry]]]:
    """The table as it is printed: headers, and a list of entries for each row."""
    named = _has_names(table)
    judged = _judged(table)
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
        line = [Entry((row.cell if named else row.name) + mark, order=row.cell or None)]
        if named:
            line = [Entry(row.name, order=row.name), line[0] if row.cell else Entry(NOTHING)]
        for column in table.columns:
            line.append(_entry(column, row))
            if column.metric in table.published:
                line.append(_published(column, row))
            if column.metric in judged:
                line.append(_verdict(column, row))
        line.append(_seeds(row))
        lines.append([*line, Entry(row.status, order=row.status)] if with_status else line)
    return [*headers, "state"] if with_status else headers, lines


def comparison_grid(table: Table) -> tuple[list[str], list[list[Entry]]]:
    """Differences from the baseline with 95% interval and p; no rows where nothing was compared."""
    metrics = list(dict.fromkeys(item.metric for item in table.comparisons))
    headers = ["cell"]
    for metric in metrics:
        title = f"{COLUMNS[metric].title}, difference from {table.baseline}"
        headers += [title, "95% interval", "p"]
    rows: dict[str, list[Entry]] = {}
    for item in table.comparisons:
        digits = COLUMNS[item.metric].digits
        rows.setdefault(item.cell, [Entry(item.cell, order=item.cell)]).extend(
            [
                Entry(f"{item.difference:+.{digits}f}", order=item.difference),
                Entry(f"{item.low:+.{digits}f} to {item.high:+.{digits}f}", order=item.low),
                Entry(f"{item.p:.3f}", order=item.p),
            ]
        )
    return headers, list(rows.values())


def markdown(table: Table) -> str:
    """GitHub's tables, then the notes as a list."""
    lines = [f"**{escape_markdown(table.title)}**", ""] if table.title else []
    for headers, rows in _grids(table):
        lines.append(_markdown_line([escape_markdown(header) for header in headers]))
        lines.append(_markdown_line(["---", *["---:"] * (len(headers) - 1)]))
        for row in rows:
            texts = [escape_markdown(entry.text) for entry in row]
            bold = [f"**{t}**" if e.best else t for t, e in zip(texts, row, strict=True)]
            lines.append(_markdown_line(bold))
        lines.append("")
    lines += [f"- {escape_markdown(note)}" for note in _below(table)]
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """booktabs tables (\\usepackage{booktabs}), then the notes as small paragraphs."""
    lines = ["% needs \\usepackage{booktabs}"]
    lines += [f"{{\\bfseries {escape_latex(table.title)}\\par}}"] if table.title else []
    for headers, rows in _grids(table):
        lines += [f"\\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}", "\\toprule"]
        lines += [" & ".join(escape_latex(header) for header in headers) + " \\\\", "\\midrule"]
        for row in rows:
            texts = [escape_latex(entry.text) for entry in row]
            bold = [f"\\textbf{{{t}}}" if e.best else t for t, e in zip(texts, row, strict=True)]
            lines.append(" & ".join(bold) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}", ""]
    for note in _below(table):
        lines += [f"{{\\footnotesize {escape_latex(note)}\\par}}"]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """For programs: unrounded numbers in the table's units, each beside its sd, n and p.

    The table's columns come first, then all others that any cell has a value for.
    """
    present = {metric for row in table.rows for metric in row.values}
    others = [COLUMNS[metric] for metric in COLUMNS if metric in present]
    columns = list(dict.fromkeys([*table.columns, *others]))
    parts = ("", " sd", " n", " p")
    named, judged = _has_names(table), _judged(table)
    header = ["row", "cell"] if named else ["cell"]
    for column in columns:
        header += [column.title + part for part in parts]
        header += [f"{column.title} published"] * (column.metric in table.published)
        header += [f"{column.title} verdict"] * (column.metric in judged)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*header, "seeds", "seeds expected", "state"])
    for row in table.rows:
        line: list[str | float | None] = [row.name, row.cell] if named else [row.name]
        for column in columns:
            if column.metric in row.values:
                value = row.values[column.metric]
                line += [value.mean, value.sd, value.n, value.p]
            else:
                line += [None] * len(parts)
            if column.metric in table.published:
                line.append(_or_empty(_published(column, row)))
            if column.metric in judged:
                line.append(_or_empty(_verdict(column, row)))
        writer.writerow([*line, row.seeds, row.expected, row.status])
    return file.getvalue()


def console(table: Table) -> str:
    """Plain text for a terminal; the best value of a column has a star."""
    file = io.StringIO()
    printer = Console(file=file, width=240, color_system=None)
    if table.title:
        printer.print(Text(f"{table.title}\n"), soft_wrap=True)
    for headers, rows in _grids(table):
        printed = ConsoleTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for index, header in enumerate(headers):
            title = header.replace(", ", ",\n") if ", " in header else header.replace(" (", "\n(")
            printed.add_column(Text(title), justify="right" if index else "left", vertical="bottom")
        for row in rows:
            printed.add_row(*(Text(f"*{e.text}" if e.best else e.text) for e in row))
        printer.print(printed)
        printer.print()
    for note in _below(table):
        printer.print(Text(note), soft_wrap=True)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


FORMATS: dict[str, tuple[str, Callable[[Table], str]]] = {
    "md": ("md", markdown),
    "csv": ("csv", comma_separated),
    "latex": ("tex", latex),
}


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    text = re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "±": "$\\pm$",
    "†": "$^\\dagger$",
    "↑": "$\\uparrow$",
    "↓": "$\\downarrow$",
}


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return " ".join(text.split()).translate(str.maketrans(_LATEX))


def _grids(table: Table) -> list[tuple[list[str], list[list[Entry]]]]:
    return [found for found in (grid(table), comparison_grid(table)) if found[1]]


def _below(table: Table) -> list[str]:
    made = [f"{title}: {text}" for title, text in table.made_by]
    return [*table.notes, *made, *table.missing]


def _markdown_line(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _is_baseline(table: Table, row: Row) -> bool:
    return len(table.rows) > 1 and row.cell == table.baseline


def _entry(column: Column, row: Row) -> Entry:
    if column.metric not in row.values:
        return Entry(NOTHING)
    value: Value = row.values[column.metric]
    text = f"{value.mean:,.{column.digits}f}"
    if value.sd is not None and (column.better or value.sd):
        text += f" ± {value.sd:,.{column.digits}f}"
    if value.p is not None and value.p < SIGNIFICANT:
        text += " †"
    if value.n < row.seeds:
        text += f" (n = {value.n})"
    return Entry(text, value.best, value.mean)


def _published(column: Column, row: Row) -> Entry:
    if column.metric not in row.published:
        return Entry(NOTHING)
    number = row.published[column.metric]
    return Entry(number.text, order=float(number.value))


def _verdict(column: Column, row: Row) -> Entry:
    if column.metric not in row.verdicts:
        return Entry(NOTHING)
    text = row.verdicts[column.metric]
    return Entry(text, order=text)


def _or_empty(entry: Entry) -> str:
    return "" if entry.text == NOTHING else entry.text


def _has_names(table: Table) -> bool:
    """Whether a paper calls our cells by other names."""
    return any(row.cell and row.cell != row.name for row in table.rows)


def _judged(table: Table) -> set[str]:
    """The metrics with verdicts."""
    return {metric for row in table.rows for metric in row.verdicts}


def _seeds(row: Row) -> Entry:
    if not row.expected:
        return Entry(NOTHING)
    text = str(row.seeds) if row.seeds == row.expected else f"{row.seeds} of {row.expected}"
    return Entry(text, order=row.seeds)
