"""Which runs train as one program: kept in their folders, since a run goes on the way it began.

    RUN/population.json    the folders of all members, in the order of their lanes

By rounding, what a member computes may depend on how many lanes there are, so that only the group
it began with ends with the same bits. No JAX here: the sweep plans with it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from seq2seq_jax.types import InputError

NAME = "population.json"


def begun(folder: Path) -> bool:
    """Whether the run in the folder has something to go on from, or has ended."""
    last = folder / "checkpoints" / "last"
    steps = last.iterdir() if last.is_dir() else ()
    return (folder / "DONE").exists() or any(path.name.isdigit() for path in steps)


def group_of(folder: Path) -> list[Path]:
    """The folders with which the run goes on, in the order of their lanes: itself, where it began
    alone; none where it has yet to begin."""
    folder = _whole(folder)
    members = _recorded(folder)
    # A record of a group that never got to its first checkpoint binds nobody.
    if any(begun(other) and _recorded(other) == members for other in members):
        return members
    return [folder] if begun(folder) else []


def form(folders: Sequence[Path]) -> None:
    """Notes in each folder that these runs train together, in this order.

    Raises InputError where one of them began otherwise.
    """
    folders = [_whole(folder) for folder in folders]
    for folder in folders:
        group = group_of(folder)
        if group not in ([], folders):
            raise InputError(f"{folder} began {_described(folder, group)}")
    for folder in folders:
        members = [os.path.relpath(other, folder) for other in folders]
        partial = folder / f"{NAME}.{os.getpid()}.partial"
        partial.write_text(json.dumps({"members": members}, indent=2) + "\n", encoding="utf-8")
        partial.replace(folder / NAME)


def leave(folder: Path) -> None:
    """Makes sure that a run trains alone. Raises InputError where it began with others."""
    folder = _whole(folder)
    group = group_of(folder)
    if group not in ([], [folder]):
        raise InputError(f"{folder} began {_described(folder, group)}")
    (folder / NAME).unlink(missing_ok=True)


def _recorded(folder: Path) -> list[Path]:
    try:
        members = json.loads((folder / NAME).read_text(encoding="utf-8"))["members"]
    except FileNotFoundError:
        return []
    return [_whole(folder / member) for member in members]


def _described(folder: Path, group: Sequence[Path]) -> str:
    if list(group) == [folder]:
        return "alone, and goes on alone"
    flags = " ".join(f"--workdir={os.path.relpath(member)}" for member in group)
    return (
        f"as one of {len(group)} runs in one program, and goes on with them: ./launch.sh train "
        f"{flags}; or take another folder"
    )


def _whole(folder: Path) -> Path:
    return Path(os.path.abspath(folder))
