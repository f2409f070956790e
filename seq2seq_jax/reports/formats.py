"""Tables as Markdown, CSV, LaTeX (booktabs) and plain text for the console; all text escaped."""

import csv
import io
import re
from collections.abc import Callable

from rich.console import Console
from rich.table import Table as ConsoleTable
from rich.text import Text

from seq2seq_jax.reports.columns import COLUMNS
from seq2seq_jax.reports.grids import (
    Printed,
    has_names,
    judged_metrics,
    of_words,
    or_empty,
    published_entry,
    verdict_entry,
)
from seq2seq_jax.reports.tables import Table


def markdown(shown: Printed) -> str:
    """GitHub's tables, then the notes as a list."""
    lines = [f"**{escape_markdown(shown.title)}**", ""] if shown.title else []
    for headers, rows in shown.grids:
        lines.append(_markdown_line([escape_markdown(header) for header in headers]))
        sides = ["---" if words else "---:" for words in of_words((headers, rows))]
        lines.append(_markdown_line(sides))
        for row in rows:
            texts = [escape_markdown(entry.text) for entry in row]
            bold = [f"**{t}**" if e.best else t for t, e in zip(texts, row, strict=True)]
            lines.append(_markdown_line(bold))
        lines.append("")
    # A note that begins as a list does is none.
    notes = (re.sub(r"^(\d*)([-+.)] )", r"\1\\\2", escape_markdown(note)) for note in shown.notes)
    lines += [f"- {note}" for note in notes]
    return "\n".join(lines) + "\n"


def latex(shown: Printed) -> str:
    """booktabs tables (\\usepackage{booktabs}), then the notes as small paragraphs."""
    lines = ["% needs \\usepackage{booktabs}"]
    lines += [f"{{\\bfseries {escape_latex(shown.title)}\\par}}"] if shown.title else []
    for headers, rows in shown.grids:
        sides = "".join("l" if words else "r" for words in of_words((headers, rows)))
        lines += [f"\\begin{{tabular}}{{{sides}}}", "\\toprule"]
        lines += [" & ".join(escape_latex(header) for header in headers) + " \\\\", "\\midrule"]
        for row in rows:
            texts = [escape_latex(entry.text) for entry in row]
            bold = [f"\\textbf{{{t}}}" if e.best else t for t, e in zip(texts, row, strict=True)]
            lines.append(" & ".join(bold) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}", ""]
    for note in shown.notes:
        lines += [f"{{\\footnotesize {escape_latex(note)}\\par}}"]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """For programs: unrounded numbers in the table's units, each beside its sd, n and both p.

    The table's columns come first, then all others that any cell has a value for.
    """
    present = {metric for row in table.rows for metric in row.values}
    others = [COLUMNS[metric] for metric in COLUMNS if metric in present]
    columns = list(dict.fromkeys([*table.columns, *others]))
    parts = ("", " sd", " n", " p", " p seeds")
    named, judged = has_names(table), judged_metrics(table)
    header = ["row", "cell"] if named else ["cell"]
    for column in columns:
        header += [column.title + part for part in parts]
        header += [f"{column.title} published"] * (column.metric in table.published)
        header += [f"{column.title} verdict"] * (column.metric in judged)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*header, "seeds", "seeds expected", "state"])
    for row in table.rows:
        name = row.name or row.cell
        line: list[str | float | None] = [name, row.cell] if named else [name]
        for column in columns:
            if column.metric in row.values:
                value = row.values[column.metric]
                line += [value.mean, value.sd, value.n, value.p, value.p_seeds]
            else:
                line += [None] * len(parts)
            if column.metric in table.published:
                line.append(or_empty(published_entry(column, row)))
            if column.metric in judged:
                line.append(or_empty(verdict_entry(column, row)))
        writer.writerow([*line, row.seeds, row.expected, row.status])
    return file.getvalue()


def console(shown: Printed) -> str:
    """Plain text for a terminal; the best value of a column has a star."""
    file = io.StringIO()
    printer = Console(file=file, width=240, color_system=None)
    if shown.title:
        printer.print(Text(f"{shown.title}\n"), soft_wrap=True)
    for headers, rows in shown.grids:
        printed = ConsoleTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for header, words in zip(headers, of_words((headers, rows)), strict=True):
            title = header.replace(", ", ",\n") if ", " in header else header.replace(" (", "\n(")
            side = "left" if words else "right"
            printed.add_column(Text(title), justify=side, vertical="bottom", overflow="fold")
        for row in rows:
            printed.add_row(*(Text(f"*{e.text}" if e.best else e.text) for e in row))
        printer.print(printed)
        printer.print()
    for note in shown.notes:
        printer.print(Text(note), soft_wrap=True)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


FORMATS: dict[str, tuple[str, Callable[[Printed], str]]] = {
    "md": ("md", markdown),
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
    "[": "{[}",  # these two, at the start of a row, would belong to the line break above it
    "*": "{*}",
    "`": "\\textasciigrave{}",
    "'": "{'}",  # two of them would be a closing quotation mark
    "±": "$\\pm$",
    "†": "$^\\dagger$",
    "‡": "$^\\ddagger$",
    "↑": "$\\uparrow$",
    "↓": "$\\downarrow$",
}


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    text = " ".join(text.split()).translate(str.maketrans(_LATEX))
    return re.sub("-(?=-)", "-{}", text)  # otherwise two are an en dash


def _markdown_line(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"
