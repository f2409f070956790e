"""Writes the report of a sweep or a run: tables, pictures and the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from seq2seq_jax.reports import heads, plots
from seq2seq_jax.reports.formats import FORMATS, console
from seq2seq_jax.reports.page import Picture, Translation, page
from seq2seq_jax.reports.paper import read_paper
from seq2seq_jax.reports.published import read_published
from seq2seq_jax.reports.results import Results, read_results
from seq2seq_jax.reports.significance import compare_with_baseline
from seq2seq_jax.reports.style import save_png
from seq2seq_jax.reports.tables import OURS_ALONE, Table, make_table
from seq2seq_jax.types import InputError

ALL_FORMATS = (*FORMATS, "html")
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
    """console: the table as plain text; files: what was written, pictures too."""

    console: str
    files: list[Path]
    table: Table
    results: Results


def write_report(
    workdir: str | Path,
    formats: Sequence[str] = ALL_FORMATS,
    published: str | Path | None = None,
    paper: str | Path | None = None,
) -> Report:
    """Writes report.md, .csv, .tex and .html and figures/*.png into the folder of a sweep or run.

    Works at any time, also while the sweep runs. `published` is a CSV file with numbers to show
    beside ours (`published.read_published`); `paper` a folder with a table of its own and such
    numbers (`paper.read_paper`). Raises InputError for a folder without runs, unknown formats and
    what those two refuse.
    """
    unknown = [name for name in formats if name not in ALL_FORMATS]
    if unknown:
        raise InputError(
            f"unknown format {', '.join(unknown)}; there are: {', '.join(ALL_FORMATS)}"
        )
    results = read_results(workdir)
    elsewhere = OURS_ALONE
    if paper:
        elsewhere = read_paper(paper)
    elif published:
        elsewhere = OURS_ALONE._replace(published=read_published(Path(published)))
    table = make_table(results, compare_with_baseline(results), elsewhere)
    files = []
    for name in formats:
        if name in FORMATS:
            suffix, render = FORMATS[name]
            files.append(_write(results.folder / f"report.{suffix}", render(table)))
    pictures = []
    for name, title, caption, draw in PICTURES:
        figure = draw(results)
        if figure is not None:
            pictures.append(Picture(title, caption, figure))
            files.append(_png(results, name, figure))
    translations = shown_translations(results)
    for number, sentence in enumerate(translations, start=1):
        for translation in translations[sentence]:
            figure = plots.alignment(translation.line, title=translation.cell)
            if figure is not None:
                files.append(_png(results, f"alignment-{number}-{translation.cell}", figure))
    if "html" in formats:
        text = page(results, table, pictures, translations)
        files.append(_write(results.folder / "report.html", text))
    return Report(console(table), files, table, results)


def shown_translations(results: Results) -> dict[str, list[Translation]]:
    """source sentence -> its translation by the first finished seed of every cell.

    The sentences of `evaluation.show`, from predictions/show.jsonl.
    """
    shown: dict[str, list[Translation]] = {}
    for cell in results.cells:
        for seed in results.finished(cell)[:1]:
            for line in results.predictions(cell, seed, "show"):
                shown.setdefault(line["source"], []).append(Translation(cell, seed, line))
    return shown


def _png(results: Results, name: str, figure: Figure) -> Path:
    path = results.folder / "figures" / f"{name}.png"
    save_png(figure, path)
    return path


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
