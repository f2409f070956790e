"""Writes the report of a sweep or a run: tables, pictures and the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from seq2seq_jax.reports import heads, plots
from seq2seq_jax.reports.diff import compare_sweeps, diff_csv, printed_diff
from seq2seq_jax.reports.formats import FORMATS, comma_separated, console
from seq2seq_jax.reports.grids import printed
from seq2seq_jax.reports.page import Picture, page
from seq2seq_jax.reports.paper import read_paper
from seq2seq_jax.reports.published import read_published
from seq2seq_jax.reports.results import Results, read_results
from seq2seq_jax.reports.significance import compare_with_baseline
from seq2seq_jax.reports.style import save_png
from seq2seq_jax.reports.tables import OURS_ALONE, Table, make_table, wanted
from seq2seq_jax.reports.translations import (
    shown_translations,
    tested_translations,
    translations_html,
)
from seq2seq_jax.types import InputError

ALL_FORMATS = ("md", "csv", "latex", "html")
SPREAD = "mean over seeds, band from least to greatest."
PICTURES = (  # file, title, caption, function
    ("curves", "Learning curves", f"Validation set: {SPREAD}", plots.learning_curves),
    (
        "diagnostics",
        "Alignment diagnostics",
        f"Validation set, gold tokens fed, the mean over heads: {SPREAD}",
        plots.alignment_curves,
    ),
    (
        "heads",
        "Alignment heads",
        "Test set, gold tokens fed, first finished seed (a head's number means nothing in another "
        "seed). mean: the mean over heads; its AER is that of the mean alignment.",
        heads.alignment_heads,
    ),
    ("lengths", "Scores by source length", f"Test set: {SPREAD}", plots.scores_by_length),
    (
        "ratio",
        "Scores by teacher-forcing ratio",
        "Test set: mean and standard deviation over seeds; dashed: ratio by a schedule.",
        plots.scores_by_ratio,
    ),
    (
        "exposure",
        "Exposure gap",
        "Test perplexity when gold tokens are fed, and when the model's own tokens are.",
        plots.exposure_gap,
    ),
)


class Report(NamedTuple):
    """console: the tables as plain text; files: what was written, pictures too."""

    console: str
    files: list[Path]
    table: Table
    results: Results


def write_report(
    workdir: str | Path,
    formats: Sequence[str] = ALL_FORMATS,
    published: str | Path | None = None,
    paper: str | Path | None = None,
    baseline: str = "",
    diff: str | Path | None = None,
) -> Report:
    """Writes report.md, .csv, .tex and .html and figures/*.png into the folder of a sweep or run.

    Works at any time, also while the sweep runs. `published` is a CSV file with numbers to show
    beside ours (`published.read_published`); `paper` a folder with a table of its own and such
    numbers (`paper.read_paper`); `baseline` the cell to compare with, otherwise the sweep's;
    `diff` the folder of another sweep, whose comparison is written to diff.md, .csv and .tex.
    Raises InputError for a folder without runs, unknown formats and cells, and what those two
    refuse.
    """
    unknown = [name for name in formats if name not in ALL_FORMATS]
    if unknown:
        raise InputError(
            f"unknown format {', '.join(unknown)}; there are: {', '.join(ALL_FORMATS)}"
        )
    results = read_results(workdir, baseline)
    elsewhere = OURS_ALONE
    if paper:
        elsewhere = read_paper(paper)
    elif published:
        elsewhere = OURS_ALONE._replace(published=read_published(Path(published)))
    comparisons = compare_with_baseline(results, wanted(elsewhere))
    translations = shown_translations(results)  # before the table, which names what is unreadable
    table = make_table(results, comparisons, elsewhere)
    shown, files = [printed(table)], []
    if "csv" in formats:
        files.append(_write(results.folder / "report.csv", comma_separated(table)))
    if diff:
        found = compare_sweeps(
            results, read_results(diff), [column.metric for column in table.columns]
        )
        shown.append(printed_diff(found))
        if "csv" in formats:
            files.append(_write(results.folder / "diff.csv", diff_csv(found)))
    for stem, part in zip(("report", "diff"), shown, strict=False):
        for name in formats:
            if name in FORMATS:
                suffix, render = FORMATS[name]
                files.append(_write(results.folder / f"{stem}.{suffix}", render(part)))
    pictures = []
    for name, title, caption, draw in PICTURES:
        figure = draw(results)
        if figure is not None:
            pictures.append(Picture(title, caption, figure))
            files.append(_png(results, name, figure))
    for number, made in enumerate(translations.values(), start=1):
        for translation in made:
            figure = plots.alignment(translation.line, title=translation.cell)
            if figure is not None:
                files.append(_png(results, f"alignment-{number}-{translation.cell}", figure))
    if "html" in formats:
        sentences = translations_html(translations, tested_translations(results))
        text = page(results, table, shown[1:], pictures, sentences)
        files.append(_write(results.folder / "report.html", text))
    return Report("\n".join(map(console, shown)), files, table, results)


def _png(results: Results, name: str, figure: Figure) -> Path:
    path = results.folder / "figures" / f"{name}.png"
    save_png(figure, path)
    return path


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
