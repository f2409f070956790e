"""How all pictures look, and how they are saved: no global state of matplotlib is touched."""

import contextlib
import html
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK, FAINT, PAPER = "#1f2328", "#d0d7de", "#ffffff"
# Okabe & Ito 2008, without its yellow (too pale for lines), then the same with other dashes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f")
MARKERS = "osD^vPX*"  # their number and that of the colours have no common divisor
DASHES = ("-", "--", ":", "-.", (0, (8, 2)), (0, (4, 1, 1, 1, 1, 1)))
CHARACTER = 0.085  # inches that a letter of a label takes
RC: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.formatter.useoffset": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # "$5 and $6" in a sentence is text
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "svg.hashsalt": "seq2seq_jax",  # the same picture gives the same file
}


# Decorates functions that make or save figures.
styled = matplotlib.rc_context(RC)


def line_styles(cells: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """cell -> (colour, dash): the same in every picture of a sweep; 42 of them differ."""
    return {
        cell: (COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)])
        for i, cell in enumerate(cells)
    }


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    return Figure(figsize=(width, height), layout=layout)


def short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def heat_map(panel: Axes, opacity_YX: np.ndarray) -> None:
    """Squares in blue, row 0 on top; opacity from 0 to 1 is right on any background."""
    rows, columns = opacity_YX.shape
    colours = np.zeros((rows, columns, 4))
    colours[..., :3] = [int(COLOURS[0][i : i + 2], 16) / 255 for i in (1, 3, 5)]
    colours[..., 3] = opacity_YX.clip(0, 1)
    panel.imshow(colours, interpolation="none", aspect="auto")
    panel.grid(visible=False)
    panel.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    panel.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    panel.tick_params(which="both", length=0)
    panel.grid(which="minor", color=FAINT, lw=0.6)
    panel.spines[:].set_visible(False)


@styled
def save_png(figure: Figure, path: Path) -> None:
    """Writes a PNG of 150 dots an inch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    with _without_glyph_warnings():
        figure.savefig(path, dpi=150)


@styled
def inline_svg(figure: Figure, label: str) -> str:
    """The figure as an <svg> element in the colours of the page around it (CSS --ink, --faint).

    `label` is what a screen reader says; it is escaped here.
    """
    file = io.StringIO()
    FigureCanvasSVG(figure)
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _without_glyph_warnings():
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    body = svg[svg.index("<defs>") :]
    for colour, name in ((INK, "--ink"), (FAINT, "--faint"), (PAPER, "--paper")):
        body = body.replace(f": {colour}", f": var({name})")
    body = re.sub(r'<g id="[^"]*">', "<g>", body)  # ids would not be unique in a page of figures
    body = re.sub(r"font-family: [^;\"]+; ?", "", body)
    width, height = figure.get_size_inches() * 72
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width:g} {height:g}" '
        f'style="width: {width / 72 * 96:.0f}px">{body}'
    )


@contextlib.contextmanager
def _without_glyph_warnings():
    """Words in scripts that the font lacks show as boxes in a PNG; nothing to warn about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
