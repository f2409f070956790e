"""The report as one HTML file that needs nothing else: no network, no other file."""

import html
import math
from importlib import resources
from typing import NamedTuple

from matplotlib.figure import Figure

from seq2seq_jax.reports.grids import Entry, Printed, difference_grids, grid, of_words
from seq2seq_jax.reports.results import Results
from seq2seq_jax.reports.style import inline_svg
from seq2seq_jax.reports.tables import Table


class Picture(NamedTuple):
    title: str
    caption: str
    figure: Figure


def page(
    results: Results,
    table: Table,
    others: list[Printed],
    pictures: list[Picture],
    translations: str,
) -> str:
    """The whole page; all text that comes from data is escaped.

    `others`: comparisons with other sweeps. `translations`: HTML of `translations_html`.
    """
    folder = results.folder.resolve().name
    name = table.title or folder
    count = f"{len(results.cells)} cells, {results.progress}"
    sections = [
        _section("Results", _table(*grid(table)) + _list(table.notes)),
        _section("Not in the table", _list(table.missing)) if table.missing else "",
        _differences(table),
        *(
            _section(other.title, *(_table(*part) for part in other.grids), _list(other.notes))
            for other in others
        ),
        _section("Translations", translations) if translations else "",
        *(
            _section(
                picture.title, _figure(picture), f'<p class="caption">{_text(picture.caption)}</p>'
            )
            for picture in pictures
        ),
        _section("How it was made", _made(table)),
    ]
    links, parts = _contents(sections)
    package = resources.files("seq2seq_jax.reports")
    style = package.joinpath("page.css").read_text(encoding="utf-8")
    script = package.joinpath("page.js").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_text(name)}: report</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{_text(name)}</h1>
<p>{_text(f"{folder}: {count}" if table.title else count)}</p>
</header>
{links}<main>
{parts}</main>
<script>
{script}</script>
</body>
</html>
"""


def _text(text: object) -> str:
    return html.escape(str(text))


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{_text(title)}</h2>\n{''.join(parts)}</section>\n"


def _contents(sections: list[str]) -> tuple[str, str]:
    """Links to the sections, and the sections with the names that they lead to."""
    kept = [section for section in sections if section]
    titles = [section.split("<h2>")[1].split("</h2>")[0] for section in kept]
    links = "".join(f'<a href="#part{i}">{title}</a>\n' for i, title in enumerate(titles))
    parts = [part.replace("<section>", f'<section id="part{i}">', 1) for i, part in enumerate(kept)]
    return f'<nav aria-label="Parts">\n{links}</nav>\n', "".join(parts)


def _list(texts: list[str]) -> str:
    items = "".join(f"<li>{_text(text)}</li>\n" for text in texts)
    return f'<ul class="notes">\n{items}</ul>\n' if items else ""


def _table(headers: list[str], rows: list[list[Entry]]) -> str:
    sides = [' class="words"' if words else "" for words in of_words((headers, rows))]
    titles = [_text(header).replace(" ↑", "&nbsp;↑").replace(" ↓", "&nbsp;↓") for header in headers]
    head = "".join(
        f'<th scope="col"{side}><button>{title}</button></th>'
        for side, title in zip(sides, titles, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_entry, row, sides))}</tr>\n" for row in rows)
    return (
        f'<div class="scroll"><table class="sortable">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>\n"
    )


def _entry(entry: Entry, side: str) -> str:
    """What is no number has no order, and is sorted last."""
    order = "Infinity" if entry.order == math.inf else entry.order
    known = order is not None and order == order
    best = ' class="best"'
    data = f' data-order="{_text(order)}"' if known else ""
    return f"<td{data}{best if entry.best else side}>{_text(entry.text)}</td>"


def _differences(table: Table) -> str:
    tables = [_table(*grid) for grid in difference_grids(table)]
    return _section(f"Compared with {table.baseline}", *tables) if tables else ""


def _figure(picture: Picture) -> str:
    return f'<div class="scroll">{inline_svg(picture.figure, picture.title)}</div>\n'


def _made(table: Table) -> str:
    rows = "".join(
        f"<dt>{_text(title)}</dt><dd>{_text(text)}</dd>\n" for title, text in table.made_by
    )
    return f"<dl>\n{rows}</dl>\n"
