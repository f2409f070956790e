"""Numbers from elsewhere, to stand beside ours: a CSV file with a source for each."""

import csv
from pathlib import Path
from typing import NamedTuple

from seq2seq_jax.reports.columns import COLUMNS
from seq2seq_jax.types import InputError

FIELDS = ["row", "metric", "value", "source", "certainty"]


class Published(NamedTuple):
    """A number from elsewhere in the column's unit, as text, and where it was found."""

    value: str
    source: str
    certainty: str


def read_published(path: Path) -> dict[str, dict[str, Published]]:
    """row -> metric -> number.

    Columns: row (a cell's name, or any other), metric (as in COLUMNS), value (in the table's unit),
    source, certainty. Raises InputError with the line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected CSV with {','.join(FIELDS)}")
    numbers: dict[str, dict[str, Published]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is None or set(FIELDS) - set(reader.fieldnames):
            raise InputError(f"{path}:1: expected the header {','.join(FIELDS)}")
        for line in reader:
            place = f"{path}:{reader.line_num}"
            if line["metric"] not in COLUMNS:
                raise InputError(
                    f"{place}: unknown metric {line['metric']!r}; there are: {', '.join(COLUMNS)}"
                )
            if None in line.values():
                raise InputError(f"{place}: expected {len(FIELDS)} fields")
            number = Published(line["value"], line["source"], line["certainty"])
            numbers.setdefault(line["row"], {})[line["metric"]] = number
    return numbers
