"""The table of a paper or question: which rows in which order, and which of our cells they are.

A folder experiments/<name>/ may hold table.py beside published.csv:

    ROWS = {"global (dot)": "score=dot", "local-m (dot)": "window=local_m,score=dot", "SMT": None}
    COLUMNS = ("bleu", "perplexity")
    TITLE = "Luong 2015, table 4"              # may be left out
    NOTES = ("Run on Multi30k, not WMT'14.",)  # may be left out
    COMPARABLE = False                         # may be left out: True

ROWS: the paper's name of a row -> the name of a cell of our sweep or of an ensemble saved there,
None where we have none; the order is the paper's. COLUMNS: metrics of `columns.COLUMNS`; that of
beam search comes behind by itself. `report --table=experiments/<name>` prints them with the numbers
of published.csv, whose rows are called as in ROWS. COMPARABLE: False where ours are other data or
another size, so that no number can be judged, only their order.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from seq2seq_jax.config import PROJECT, run_file
from seq2seq_jax.config_checks import nearest
from seq2seq_jax.reports.columns import COLUMNS
from seq2seq_jax.reports.published import Published, read_published
from seq2seq_jax.types import InputError

NAMES = ("ROWS", "COLUMNS", "TITLE", "NOTES", "COMPARABLE")


class Paper(NamedTuple):
    """What stands beside our cells. No rows: our cells in the sweep's order come first."""

    rows: Mapping[str, str | None] = {}
    columns: tuple[str, ...] = ()  # none: the default
    published: Mapping[str, Mapping[str, Published]] = {}  # row -> metric -> number
    title: str = ""
    notes: tuple[str, ...] = ()
    comparable: bool = True


def read_paper(name: str | Path) -> Paper:
    """The table.py and, where there is one, the published.csv of a folder.

    The folder is looked for from the current one and then from the project's. Raises InputError for
    a folder without table.py, for names of the wrong kind or of no metric, and for published
    numbers that the table would not show.
    """
    folder = next((base / name for base in (Path(), PROJECT) if (base / name).is_dir()), Path(name))
    path = folder / "table.py"
    if not path.is_file():
        raise InputError(f"{path}: no such file; --table takes a folder like experiments/scan")
    module = run_file(path)
    paper = _of_module(module, path)
    numbers = folder / "published.csv"
    if not numbers.is_file():
        return paper
    published = read_published(numbers)
    for row, metrics in published.items():
        if row not in paper.rows:
            raise InputError(
                f"{numbers}: no row {row!r} in ROWS of {path}{nearest(row, paper.rows)}"
            )
        for metric in metrics:
            if metric not in paper.columns:
                raise InputError(f"{numbers}: {metric} of {row!r} is not in COLUMNS of {path}")
    return paper._replace(published=published)


def _of_module(module: ModuleType, path: Path) -> Paper:
    """The names of NAMES, each checked."""
    given = vars(module)
    wrong = [name for name in given if name[0].isalpha() and name.isupper() and name not in NAMES]
    if wrong:
        raise InputError(f"{path}: unknown name {wrong[0]}{nearest(wrong[0], NAMES)}")
    known: dict[str, Any] = {
        "ROWS": None,
        "COLUMNS": None,
        "TITLE": "",
        "NOTES": (),
        "COMPARABLE": True,
    }
    rows, columns, title, notes, comparable = ((known | given)[name] for name in NAMES)
    if not isinstance(rows, dict) or not all(
        isinstance(row, str) and isinstance(cell, str | None) for row, cell in rows.items()
    ):
        raise InputError(f"{path}: expected ROWS = {{'a row of the paper': 'cell=name' or None}}")
    for field, value in (("COLUMNS", columns), ("NOTES", notes)):
        if not isinstance(value, tuple | list) or not all(isinstance(x, str) for x in value):
            raise InputError(f"{path}: expected {field} = ('text', 'text', ...)")
    if not isinstance(title, str):
        raise InputError(f"{path}: expected TITLE = 'text'")
    if not isinstance(comparable, bool):
        raise InputError(f"{path}: expected COMPARABLE = True or False")
    for metric in columns:
        if metric not in COLUMNS:
            raise InputError(
                f"{path}: unknown metric {metric!r} in COLUMNS{nearest(metric, COLUMNS)} "
                f"(there are: {', '.join(COLUMNS)})"
            )
    return Paper(rows, tuple(columns), {}, title, tuple(notes), comparable)
