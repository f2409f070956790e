"""The picture of attention heads: what each of them does, cell by cell."""

import numpy as np
from matplotlib.figure import Figure

from seq2seq_jax.reports.columns import COLUMNS
from seq2seq_jax.reports.results import Results
from seq2seq_jax.reports.style import CHARACTER, INK, heat_map, new_figure, short, styled

METRICS = ("alignment_entropy", "alignment_coverage", "alignment_monotonicity", "aer")
DARKEST = 0.65  # opacity behind a number that has to stay readable
SIDE_BY_SIDE = 8  # heads; with more of them the panels stand one below the other


@styled
def alignment_heads(results: Results) -> Figure | None:
    """Test values of each head and of their mean: rows are cells, columns heads; darker is more.

    Of the first finished seed: the order of heads means nothing, so their mean over seeds would
    mean nothing either. None where no cell has several heads.
    """
    tested = {cell: values for cell in results.cells if (values := _values(results, cell))}
    if not tested:
        return None
    heads = 1 + max(head for values in tested.values() for row in values.values() for head in row)
    metrics = [m for m in METRICS if any(m in values for values in tested.values())]
    names = [short(cell, 60) for cell in tested]
    across = 2 if heads <= SIDE_BY_SIDE and len(metrics) > 1 else 1
    down = -(-len(metrics) // across)
    width = max(0.45 * (heads + 1), 2.3)
    figure = new_figure(
        0.5 + CHARACTER * max(map(len, names)) + across * (width + 0.2),
        0.3 + down * (0.75 + 0.28 * len(names)),
    )
    for number, metric in enumerate(metrics):
        panel = figure.add_subplot(down, across, number + 1)
        value_CN = np.full((len(tested), heads + 1), np.nan)
        for row, values in zip(value_CN, tested.values(), strict=True):
            if metric in values:
                row[list(values[metric])] = list(values[metric].values())
        column = COLUMNS[metric]
        value_CN *= column.scale
        # Shares are dark at 100 %, whatever the others are.
        top = 100.0 if column.scale == 100 else max(np.nanmax(value_CN), 1e-9)
        heat_map(panel, np.nan_to_num(value_CN / top * DARKEST))
        for (y, x), value in np.ndenumerate(value_CN):
            if not np.isnan(value):
                text = f"{value:.{min(column.digits, 2)}f}"
                panel.text(x, y, text, ha="center", va="center", fontsize=8)
        panel.axvline(heads - 0.5, color=INK, lw=1)
        panel.set_title(column.title)
        panel.set_xticks(range(heads + 1), [*map(str, range(heads)), "mean"])
        panel.set_yticks(range(len(names)), names if number % across == 0 else [])
        if number >= len(metrics) - across:
            panel.set_xlabel("head")
    return figure


def _values(results: Results, cell: str) -> dict[str, dict[int, float]]:
    """metric -> {head: value}, -1 for the mean over heads; empty without several heads."""
    finals = results.finals
    found: dict[str, dict[int, float]] = {}
    for seed in results.finished(cell)[:1]:
        here = finals[(finals["cell"] == cell) & (finals["seed"] == seed)]
        for name, value in zip(here["metric"], here["value"], strict=True):
            metric, _, head = name.partition("/head")
            if metric in METRICS and (head.isdecimal() or not head):
                found.setdefault(metric, {})[int(head or -1)] = value
    return {metric: values for metric, values in found.items() if set(values) > {-1}}
