"""Numbers from elsewhere, to stand beside ours: a CSV file with a source for each."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

from seq2seq_jax.config_checks import nearest
from seq2seq_jax.data.sources import read_lines
from seq2seq_jax.reports.columns import COLUMNS
from seq2seq_jax.types import InputError

FIELDS = ["row", "metric", "value", "source", "certainty"]
SPREAD = ["low", "high"]


class Published(NamedTuple):
    """A number from elsewhere in the column's unit, as it was written, and where it was found.

    low, high: the published spread (least and greatest run, or mean less and plus a standard
    deviation: `source` says which); both empty where the source gives none.
    """

    value: str
    source: str
    certainty: str
    low: str = ""
    high: str = ""

    @property
    def unverified(self) -> bool:
        """Whether nobody here has seen the number in its source, as its certainty says."""
        return bool(re.search(r"\b(mem|memory|second-hand|unverified)\b", self.certainty))

    @property
    def text(self) -> str:
        """`21.78 (21.73 to 21.83)`, `13.8 (unverified)`"""
        spread = f" ({self.low} to {self.high})" if self.low else ""
        return self.value + spread + " (unverified)" * self.unverified


def read_published(path: Path) -> dict[str, dict[str, Published]]:
    """row -> metric -> number.

    Columns: row (a cell's name, or any other), metric (as in COLUMNS), value (in the table's unit),
    source, certainty, and where wished low and high. Raises InputError with the line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected CSV with {','.join(FIELDS)}")
    numbers: dict[str, dict[str, Published]] = {}
    reader = csv.reader(read_lines(path, "published"))
    header = next(reader, [])
    if sorted(header) not in (sorted(FIELDS), sorted(FIELDS + SPREAD)):
        raise InputError(
            f"{path}:1: expected the header {','.join(FIELDS)}, or with ,{','.join(SPREAD)}"
        )
    for fields in reader:
        if not fields:
            continue
        place = f"{path}:{reader.line_num}"
        if len(fields) != len(header):
            raise InputError(f"{place}: expected {len(header)} fields, found {len(fields)}")
        line = dict(zip(header, fields, strict=True))
        row, metric = line.pop("row"), line.pop("metric")
        if metric not in COLUMNS:
            raise InputError(
                f"{place}: unknown metric {metric!r}{nearest(metric, COLUMNS)} "
                f"(there are: {', '.join(COLUMNS)})"
            )
        if metric in numbers.setdefault(row, {}):
            raise InputError(f"{place}: {metric} of {row!r} stands here a second time")
        numbers[row][metric] = _checked(Published(**line), place)
    return numbers


def _checked(number: Published, place: str) -> Published:
    """The number, if low <= value <= high are numbers and it has a source."""
    for name in ("source", "certainty"):
        if not getattr(number, name).strip():
            raise InputError(f"{place}: {name} is empty; say where the number is from, how sure")
    texts = {name: getattr(number, name) for name in ("low", "value", "high")}
    if not number.low and not number.high:
        texts = {"value": number.value}
    for name, text in texts.items():
        if not re.fullmatch(r"-?\d+(\.\d+)?", text):
            raise InputError(f"{place}: expected a number as {name}, found {text!r}")
    values = [float(text) for text in texts.values()]
    if values != sorted(values):
        raise InputError(
            f"{place}: expected low <= value <= high, found {', '.join(texts.values())}"
        )
    return number
