"""The pictures of a sweep, as matplotlib figures; None where there is nothing to show yet."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from seq2seq_jax.evaluation.lengths import COUNTS, length_bins, scores_in_bins
from seq2seq_jax.reports.columns import COLUMNS
from seq2seq_jax.reports.results import Results
from seq2seq_jax.reports.style import (
    CHARACTER,
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    heat_map,
    line_styles,
    new_figure,
    short,
    styled,
)
from seq2seq_jax.reports.tested import tested

CURVES = ("perplexity", "exact_match", "bleu", "aer")
DIAGNOSTICS = (
    "alignment_entropy",
    "alignment_coverage",
    "alignment_monotonicity",
    "gold_distance",
)
RATIO = "teacher_forcing.ratio"
DRAWN = 1e100  # what is above it has diverged, and no axis holds it
LARGEST = 30.0  # inches of a picture of an alignment, either way
UNNAMED = ("_child", "_nolegend_")  # how matplotlib calls what was given no name
SCHEDULE = "teacher_forcing.schedule"


def learning_curves(results: Results) -> Figure | None:
    """How well the model does on the validation set, against the step."""
    return _curves(results, CURVES)


def alignment_curves(results: Results) -> Figure | None:
    """How the model attends on the validation set, against the step; the mean over heads."""
    return _curves(results, DIAGNOSTICS)


@styled
def _curves(results: Results, wished: tuple[str, ...]) -> Figure | None:
    """Validation metrics against the step: the mean over seeds, a band from least to greatest."""
    curves = results.curves[results.curves["value"].abs() < DRAWN]
    metrics = [m for m in wished if (curves["metric"] == f"valid/{m}").any()]
    if not metrics:
        return None
    figure, panels = _panels(len(metrics))
    for panel, metric in zip(panels, metrics, strict=True):
        here = curves[curves["metric"] == f"valid/{metric}"]
        for cell, (colour, dash) in line_styles(results.cells).items():
            by_step = here[here["cell"] == cell].groupby("step")["value"]
            if len(by_step):
                scale = COLUMNS[metric].scale
                spread = by_step.agg(["mean", "min", "max"]) * scale
                panel.plot(spread.index, spread["mean"], ls=dash, color=colour, label=cell)
                panel.fill_between(
                    spread.index, spread["min"], spread["max"], color=colour, alpha=0.18, lw=0
                )
        panel.set_title(COLUMNS[metric].title)
        panel.set_xlabel("step")
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        if metric == "perplexity":
            _plain_log(panel, "y")
    if len(results.cells) > 1:
        _legend(figure, panels)
    return figure


@styled
def scores_by_length(results: Results) -> Figure | None:
    """Exact match and BLEU against the number of source words: mean over seeds, least to greatest.

    From predictions/test.jsonl of the finished runs. The bins hold the sentences of all cells; how
    many are in each is written where all cells were tested on as many.
    """
    runs = {cell: seeds for cell in results.cells if (seeds := tested(results, cell, "greedy"))}
    if not runs:
        return None
    words = {cell: seeds[0].words for cell, seeds in runs.items()}
    bins = length_bins([count for own in words.values() for count in own])
    counts = {
        tuple(sum(low <= count <= high for count in own) for low, high in bins)
        for own in words.values()
    }
    x = np.flatnonzero(np.sum([*counts], axis=0))
    labels = [f"{low}" if low == high else f"{low}-{high}" for low, high in bins]
    if alike := len(counts) == 1:
        labels = [f"{label}\n{count}" for label, count in zip(labels, *counts, strict=True)]
    values = {
        cell: [scores_in_bins(seed.statistics(COUNTS), seed.words, bins) for seed in seeds]
        for cell, seeds in runs.items()
    }
    figure, panels = _panels(2)
    for panel, metric in zip(panels, ("exact_match", "bleu"), strict=True):
        for cell, (colour, dash) in line_styles(results.cells).items():
            if cell in values:
                rows = [[line[metric] for line in seed] for seed in values[cell]]
                scores = np.array(rows)[:, x] * COLUMNS[metric].scale
                mean = scores.mean(axis=0)
                panel.plot(x, mean, ls=dash, color=colour, marker="o", ms=4, label=cell)
                panel.fill_between(
                    x, scores.min(axis=0), scores.max(axis=0), color=colour, alpha=0.18, lw=0
                )
        panel.set_title(COLUMNS[metric].title)
        panel.set_xlabel("source words" + " (number of sentences below)" * alike)
        panel.set_xticks(range(len(bins)), labels)
        panel.set_ylim(bottom=-0.03 * panel.get_ylim()[1])  # from 0, a little room for its markers
    if len(results.cells) > 1:
        _legend(figure, panels)
    return figure


@styled
def exposure_gap(results: Results) -> Figure | None:
    """Test perplexity of each cell when gold is fed and when the model's own tokens are."""
    wide = _finals(results, ("perplexity", "perplexity_free")).dropna()
    cells = [cell for cell in results.cells if cell in set(wide["cell"])]
    if not cells:
        return None
    means = wide.groupby("cell")[["perplexity", "perplexity_free"]].mean().loc[cells]
    names = [short(cell, 60) for cell in cells]
    figure = new_figure(5.6 + CHARACTER * max(map(len, names)), 1.3 + 0.36 * len(cells))
    panel = figure.add_subplot()
    rows = np.arange(len(cells))
    forced, free = means["perplexity"].to_numpy(), means["perplexity_free"].to_numpy()
    panel.hlines(rows, forced, free, color=FAINT, lw=3, zorder=1)
    for values, metric, colour in (
        (forced, "perplexity", COLOURS[0]),
        (free, "perplexity_free", COLOURS[1]),
    ):
        label = "gold fed (forced)" if metric == "perplexity" else "own tokens fed (free-running)"
        for row, cell in enumerate(cells):
            seeds = wide.loc[wide["cell"] == cell, metric]
            panel.plot(seeds, [row] * len(seeds), "|", color=colour, ms=9, alpha=0.7)
        panel.plot(values, rows, "o", color=colour, ms=7, label=label)
    for row in rows:
        panel.annotate(
            f"×{free[row] / forced[row]:.2f}",
            (
                wide.loc[wide["cell"] == cells[row], ["perplexity", "perplexity_free"]]
                .to_numpy()
                .max(),
                row,
            ),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    panel.set_yticks(rows, names)
    panel.set_ylim(len(cells) - 0.5, -0.5)
    panel.grid(visible=False, axis="y")
    panel.margins(x=0.12)
    panel.set_xlabel("test perplexity (mean; ticks: seeds)")
    if max(free.max(), forced.max()) > 10 * min(free.min(), forced.min()):
        _plain_log(panel, "x")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@styled
def scores_by_ratio(results: Results) -> Figure | None:
    """Test metrics against the teacher-forcing ratio, where the sweep varies it.

    One line for each combination of the other settings that vary; cells whose ratio follows a
    schedule have no single ratio and are dashed level lines. Bars: standard deviation over seeds.
    """
    if RATIO not in results.settings:
        return None
    metrics = ("exact_match", "bleu", "perplexity", "perplexity_free")
    wide = _finals(results, metrics)
    metrics = [metric for metric in metrics if wide[metric].notna().any()]
    wide["ratio"] = pd.to_numeric(wide[RATIO], errors="coerce")
    constant = wide[SCHEDULE] == "constant" if SCHEDULE in wide else wide["ratio"].notna()
    if wide[constant]["ratio"].nunique() < 2 or not metrics:
        return None
    others = [
        name
        for name in results.settings
        if name not in (RATIO, SCHEDULE) and wide[constant][name].map(str).nunique() > 1
    ]
    wide["line"] = [
        ", ".join(f"{name.split('.')[-1]}={row[name]}" for name in others) or "constant ratio"
        for row in wide.to_dict("records")
    ]
    figure, panels = _panels(len(metrics))
    groups = list(dict.fromkeys(wide[constant]["line"]))
    scheduled = list(dict.fromkeys(wide[~constant]["cell"]))
    styles = line_styles([*groups, *scheduled])
    for panel, metric in zip(panels, metrics, strict=True):
        scale = COLUMNS[metric].scale
        for place, name in enumerate(groups):
            part = wide[constant & (wide["line"] == name)].groupby("ratio")[metric]
            mean, sd = part.mean() * scale, part.std(ddof=1).fillna(0) * scale
            panel.errorbar(
                mean.index,
                mean,
                sd,
                color=styles[name][0],
                ls=styles[name][1],
                marker=MARKERS[place % len(MARKERS)],
                ms=5,
                capsize=3,
                label=name,
            )
        for cell in scheduled:
            level = wide.loc[wide["cell"] == cell, metric].mean() * scale
            panel.axhline(level, ls="--", lw=1.2, color=styles[cell][0], label=cell)
        panel.set_title(COLUMNS[metric].title)
        panel.set_xlabel("teacher-forcing ratio")
    if len(styles) > 1:
        _legend(figure, panels)
    return figure


@styled
def alignment(line: dict[str, Any], title: str = "") -> Figure | None:
    """The alignment of one line of predictions: source words above, hypothesis words at the left.

    The darker, the greater the weight; orange outlines are gold links, drawn where the hypothesis
    is the reference (they count its words). None for a model without attention.
    """
    weights_TS = np.array(line["alignment"] or [[0.0]], dtype=np.float64)
    if not weights_TS.any():
        return None
    rows, columns = weights_TS.shape
    sources, targets = (
        [short(word, 24) for word in line[f"{side}_tokens"]] for side in ("source", "hypothesis")
    )
    left, top = (CHARACTER * max(map(len, words)) for words in (targets, sources))
    # The words above lean at 45 degrees: they need room upwards, and to the right of the last one.
    across, down = min(0.4, LARGEST / columns), min(0.3, LARGEST / rows)
    width = 0.6 + left + across * columns + 0.7 * CHARACTER * len(sources[-1])
    figure = new_figure(width, 0.9 + 0.7 * top + down * rows)
    panel = figure.add_subplot()
    heat_map(panel, weights_TS)
    # Of a long sentence every other word is named, or fewer.
    named_S, named_T = (slice(None, None, math.ceil(0.15 / inches)) for inches in (across, down))
    panel.set_xticks(range(columns)[named_S], sources[named_S], rotation=45, ha="left")
    panel.set_yticks(range(rows)[named_T], targets[named_T])
    panel.xaxis.tick_top()
    if line["gold"] and line["hypothesis"] == line["reference"]:
        for s, t in line["gold"]:
            box = Rectangle((s - 0.5, t - 0.5), 1, 1, fill=False, ec=COLOURS[1], lw=1.8, zorder=3)
            panel.add_patch(box)
    if title:
        panel.set_xlabel(short(title, 60), color=INK, fontweight="bold", loc="left")
    return figure


def _finals(results: Results, metrics: tuple[str, ...]) -> pd.DataFrame:
    """A row for each finished run: its settings, and its test metrics as columns (NaN: none, or
    not to be drawn)."""
    runs = results.trained[results.trained["state"] == "finished"]
    runs = runs[["cell", "seed", *results.settings]].copy()
    for metric in metrics:
        finals = results.finals[results.finals["metric"] == metric]
        values = finals.set_index(["cell", "seed"])["value"]
        values = values.where(values.abs() < DRAWN)
        runs[metric] = values.reindex(pd.MultiIndex.from_frame(runs[["cell", "seed"]])).to_numpy()
    return runs.astype(dict.fromkeys(metrics, float))


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    rows, columns = (count + 1) // 2, min(count, 2)
    figure = new_figure(4.6 * columns, 0.5 + 2.7 * rows)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _legend(figure: Figure, panels: list[Axes]) -> None:
    """One legend for all panels, below them."""
    # Not matplotlib's own list of them, which leaves out names that begin with an underscore.
    drawn: list[Any] = [one for panel in panels for one in (*panel.lines, *panel.containers)]
    named = [(str(artist.get_label()), artist) for artist in drawn]
    found = {name: artist for name, artist in named if not name.startswith(UNNAMED)}
    names = [short(label, 60) for label in found]
    width = 0.6 + CHARACTER * max(map(len, names))
    columns = max(1, min(len(names), int(figure.get_figwidth() / width)))
    figure.set_figheight(figure.get_figheight() + 0.22 * (len(names) / columns))
    figure.legend(list(found.values()), names, loc="outside lower center", ncols=columns)


def _plain_log(panel: Axes, axis: str) -> None:
    """A logarithmic axis with numbers as people write them."""
    panel.set(**{f"{axis}scale": "log"})
    which = panel.yaxis if axis == "y" else panel.xaxis
    which.set_major_formatter(ScalarFormatter())
    low, high = panel.get_ylim() if axis == "y" else panel.get_xlim()
    which.set_minor_formatter(ScalarFormatter() if high < 10 * low else NullFormatter())
