"""The report as one HTML file that needs nothing else: no network, no other file."""

import html
from importlib import resources
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from seq2seq_jax.reports import plots
from seq2seq_jax.reports.formats import Entry, comparison_grid, grid
from seq2seq_jax.reports.results import Results
from seq2seq_jax.reports.style import inline_svg
from seq2seq_jax.reports.tables import Table


class Picture(NamedTuple):
    title: str
    caption: str
    figure: Figure


class Translation(NamedTuple):
    """What one cell makes of a sentence: a line of predictions/show.jsonl."""

    cell: str
    seed: int
    line: dict[str, Any]


def page(
    results: Results,
    table: Table,
    pictures: list[Picture],
    translations: dict[str, list[Translation]],
) -> str:
    """The whole page. All text that comes from data is escaped."""
    name = results.folder.resolve().name
    finished = int((results.runs["state"] == "finished").sum())
    sections = [
        _section("Results", _table(*grid(table)) + _list(table.notes)),
        _comparisons(table),
        _translations(translations),
        *(
            _section(
                picture.title, _figure(picture), f'<p class="caption">{_text(picture.caption)}</p>'
            )
            for picture in pictures
        ),
        _section("Not in the table", _list(table.missing)) if table.missing else "",
        _section("How it was made", _made(table)),
    ]
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
<p>{len(results.cells)} cells, {finished} of {len(results.runs)} runs finished</p>
</header>
<main>
{"".join(sections)}</main>
<script>
{script}</script>
</body>
</html>
"""


def _text(text: object) -> str:
    return html.escape(str(text))


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{_text(title)}</h2>\n{''.join(parts)}</section>\n"


def _list(texts: list[str]) -> str:
    items = "".join(f"<li>{_text(text)}</li>\n" for text in texts)
    return f'<ul class="notes">\n{items}</ul>\n' if items else ""


def _table(headers: list[str], rows: list[list[Entry]]) -> str:
    head = "".join(f'<th scope="col"><button>{_text(header)}</button></th>' for header in headers)
    body = "".join(f"<tr>{''.join(map(_entry, row))}</tr>\n" for row in rows)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>\n"
    )


def _entry(entry: Entry) -> str:
    order = "" if entry.order is None else f' data-order="{_text(entry.order)}"'
    best = ' class="best"' if entry.best else ""
    return f"<td{order}{best}>{_text(entry.text)}</td>"


def _comparisons(table: Table) -> str:
    headers, rows = comparison_grid(table)
    return _section(f"Compared with {table.baseline}", _table(headers, rows)) if rows else ""


def _figure(picture: Picture) -> str:
    return f'<div class="scroll">{inline_svg(picture.figure, picture.title)}</div>\n'


def _translations(translations: dict[str, list[Translation]]) -> str:
    """The alignment pictures of one sentence at a time, with a picker where there are several."""
    if not translations:
        return ""
    options = "".join(f"<option>{_text(sentence)}</option>" for sentence in translations)
    picker = f'<p><label>Sentence <select id="sentence">{options}</select></label></p>\n'
    parts = [picker if len(translations) > 1 else ""]
    for number, (sentence, made) in enumerate(translations.items()):
        hidden = " hidden" if number else ""
        cards = "".join(_card(sentence, translation) for translation in made)
        parts.append(
            f'<div class="sentence"{hidden}>\n<p class="source">{_text(sentence)}</p>\n'
            f'<div class="cards">\n{cards}</div></div>\n'
        )
    caption = "Greedy translations; a row shows where the model looked when it wrote that word."
    return _section("Translations", *parts, f'<p class="caption">{caption}</p>\n')


def _card(sentence: str, translation: Translation) -> str:
    line, picture = translation.line, '<p class="caption">no attention</p>'
    figure = plots.alignment(line)
    if figure is not None:
        picture = inline_svg(figure, f"alignment of {sentence!r} by {translation.cell}")
    return (
        f"<figure><figcaption><b>{_text(translation.cell)}</b> <span>seed {translation.seed}, "
        f"log p {line['score']:.2f}</span><br>{_text(line['hypothesis'])}</figcaption>\n"
        f"{picture}</figure>\n"
    )


def _made(table: Table) -> str:
    rows = "".join(
        f"<dt>{_text(title)}</dt><dd>{_text(text)}</dd>\n" for title, text in table.made_by
    )
    return f"<dl>\n{rows}</dl>\n"
