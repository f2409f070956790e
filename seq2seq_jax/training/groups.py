"""Which runs train as one program: kept in their folders, since a run goes on the way it began.

    RUN/population.json    "members": the folders of all, in the order of their lanes;
                           "lost": why this one cannot go on, where its loss was not finite

By rounding, what a member computes may depend on how many lanes there are, so that only the group
it began with ends with the same bits. No JAX here: the sweep plans with it.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq_jax.files import write_json
from seq2seq_jax.types import InputError

NAME = "population.json"


def begun(folder: Path) -> bool:
    """Whether the run in the folder has something to go on from, or has ended."""
    last = folder / "checkpoints" / "last"
    steps = last.iterdir() if last.is_dir() else ()
    return (folder / "DONE").exists() or any(path.name.isdigit() for path in steps)


def clear(folder: Path) -> None:
    """Removes what a start has left in a folder where no run has begun."""
    for name in ("checkpoints", "vocabulary", "predictions"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("metrics.jsonl", "timing.jsonl"):
        (folder / name).unlink(missing_ok=True)


def group_of(folder: Path) -> list[Path]:
    """The folders with which the run goes on, in the order of their lanes: itself, where it began
    alone; none where it has yet to begin."""
    folder = whole(folder)
    members = _recorded(folder)
    # A record of a group that never got to its first checkpoint binds nobody.
    if any(begun(other) and _recorded(other) == members for other in members):
        return members
    return [folder] if begun(folder) else []


def form(folders: Sequence[Path]) -> None:
    """Notes in each folder that these runs train together, in this order.

    Raises InputError where one of them began otherwise.
    """
    folders = [whole(folder) for folder in folders]
    for folder in folders:
        group = group_of(folder)
        if group not in ([], folders):
            raise InputError(f"{folder} began {_described(folder, group)}")
    for folder in folders:
        if _recorded(folder) != folders:
            members = [os.path.relpath(other, folder) for other in folders]
            write_json(folder / NAME, {"members": members})


def lose(folder: Path, reason: str) -> None:
    """Notes that a member cannot go on, so that the others will not wait for it."""
    write_json(folder / NAME, _read(folder) | {"lost": reason})


def lost(folder: Path) -> str:
    """Why the member cannot go on; empty where it can."""
    return _read(folder).get("lost", "")


def leave(folder: Path) -> None:
    """Makes sure that a run trains alone. Raises InputError where it began with others."""
    folder = whole(folder)
    group = group_of(folder)
    if group not in ([], [folder]):
        raise InputError(f"{folder} began {_described(folder, group)}")
    (folder / NAME).unlink(missing_ok=True)


def _recorded(folder: Path) -> list[Path]:
    record = _read(folder)
    return [whole(folder / member) for member in record["members"]] if record else []


def _read(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _described(folder: Path, group: Sequence[Path]) -> str:
    if list(group) == [folder]:
        return "alone, and goes on alone"
    flags = " ".join(f"--workdir={os.path.relpath(member)}" for member in group)
    return (
        f"as one of {len(group)} runs in one program, and goes on with them: ./launch.sh train "
        f"{flags}; or take another folder"
    )


def whole(folder: Path) -> Path:
    """The absolute path; links are kept, so that it reads as it was written."""
    return Path(os.path.abspath(folder))
