"""Grids of overrides for the `sweep()` of an experiment file, and the names of their cells.

    def sweep():
        return product(
            {"model.attention.score": ["dot", "general"]},
            {"model.decoder.input_feeding": [False, True]},
        )

An axis is `{dotted key: values}`; a point is `{dotted key: value, ...}`; every function returns a
list of points and takes axes or such lists. A point that sets many keys gives itself a name with
`sweep.cell`.
"""

import itertools
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from seq2seq_jax.config_checks import nearest
from seq2seq_jax.types import InputError

Point = dict[str, Any]
Axis = Mapping[str, Sequence[Any]] | Sequence[Point]
CELL = "sweep.cell"  # the key with which a point names itself
LONGEST = 100  # characters of a cell's name
LONGEST_BYTES = 255  # that file systems allow


def product(*axes: Axis) -> list[Point]:
    """Every combination; the last axis varies fastest."""
    parts = [part for axis in axes for part in _parts(axis)]
    return [_join(points) for points in itertools.product(*parts)]


def zip_(*axes: Axis) -> list[Point]:
    """The first values together, the second together, ...; all axes are equally long."""
    parts = [part for axis in axes for part in _parts(axis)]
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        raise InputError(f"zip_ needs axes of one length, not {', '.join(map(str, lengths))}")
    return [_join(points) for points in zip(*parts, strict=True)]


def chain(*axes: Axis) -> list[Point]:
    """One list after the other."""
    return [point for axis in axes for part in _parts(axis) for point in part]


def cell_names(points: Sequence[Point]) -> list[str]:
    """A readable name of each cell, unique among `points` and safe for file systems.

    `score=general,ratio=0.5`: the last part of each dotted key, more parts where the last one
    stands for two keys of the sweep; or what the cell sets `sweep.cell` to. The cell without
    overrides is `base`.
    """
    short = _short({key for point in points for key in point})
    names = [_name(point, short) for point in points]
    owners: dict[str, list[Point]] = {}
    for name, point in zip(names, points, strict=True):
        if point not in owners.setdefault(name, []):
            owners[name].append(point)
    return [
        name if len(owners[name]) == 1 and name == _cut(name) else _hashed(name, point)
        for name, point in zip(names, points, strict=True)
    ]


def baseline(name: str, names: Sequence[str]) -> str:
    """The cell that the others are compared with: `name`, or the first where it is empty."""
    if not name:
        return names[0]
    if name not in names:
        cells = ", ".join(names)
        raise InputError(f"sweep.baseline = {name}: no such cell{nearest(name, names)} ({cells})")
    return name


def _parts(axis: Axis) -> list[list[Point]]:
    """An axis as lists of points: one list a key, or the list of points itself."""
    if not isinstance(axis, Mapping):
        return [list(axis)]
    for key, values in axis.items():
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise InputError(f"the axis {key} needs a list of values, not {values!r}")
    return [[{key: value} for value in values] for key, values in axis.items()]


def _join(points: Sequence[Point]) -> Point:
    joined: Point = {}
    for point in points:
        for key in point:
            if key in joined:
                raise InputError(f"two axes of the sweep set {key}")
        joined.update(point)
    return joined


def _short(keys: set[str]) -> dict[str, str]:
    """Each dotted key -> its shortest ending that is the ending of no other key."""
    endings: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        candidates = [".".join(parts[i:]) for i in reversed(range(len(parts)))]
        others = [f".{other}" for other in keys - {key}]
        endings[key] = next(
            (c for c in candidates if not any(other.endswith(f".{c}") for other in others)), key
        )
    return endings


def _name(point: Point, short: Mapping[str, str]) -> str:
    given = {CELL: ""} | point
    if name := given.pop(CELL):
        if not name.strip("."):
            raise InputError(f"{CELL} = {name!r}: no name of a folder of its own")
        return re.sub(r"[^\w.,=+-]+", "-", name)
    return ",".join(f"{short[key]}={_text(value)}" for key, value in given.items()) or "base"


def _text(value: Any) -> str:
    """A value in characters that every file system and shell takes."""
    text = "+".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return re.sub(r"[^\w.+-]+", "-", text) or "empty"


def _hashed(name: str, point: Point) -> str:
    code = zlib.crc32(repr(sorted(point.items())).encode())
    return f"{_cut(name, 9)}~{code:08x}"


def _cut(name: str, room: int = 0) -> str:
    """As much of a name as may be, with room for so many further characters."""
    return name.encode()[: LONGEST_BYTES - room].decode(errors="ignore")[: LONGEST - room]
