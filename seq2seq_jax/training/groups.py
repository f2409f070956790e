"""Which runs train as one program: kept in their folders, since a run goes on the way it began.

    RUN/population.json    "members": the folders of all, in the order of their lanes;
                           "lost": why this one does not go on with the others: its loss was not
                           finite, or its folder was emptied

By rounding, what a member computes may depend on how many lanes there are, so that only the group
it began with ends with the same bits. No JAX here: the sweep plans with it.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seq2seq_jax.config_signature import read_together
from seq2seq_jax.files import write_json
from seq2seq_jax.types import InputError

NAME = "population.json"
EMPTIED = (
    "its folder was emptied after its group had begun; the same command trains it anew when all"
    " others of the group have ended"
)


class BeganOtherwise(InputError):
    """A run goes on with other runs than it is to train with: these have to be chosen anew."""


def begun(folder: Path) -> bool:
    """Whether the run in the folder has something to go on from, or has ended."""
    return (folder / "DONE").exists() or bool(_steps(folder))


def _steps(folder: Path) -> list[str]:
    last = folder / "checkpoints" / "last"
    return [path.name for path in last.iterdir() if path.name.isdigit()] if last.is_dir() else []


def clear(folder: Path) -> None:
    """Removes what a start has left in a folder where no run has begun."""
    for name in ("checkpoints", "vocabulary", "predictions", "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("metrics.jsonl", "timing.jsonl"):
        (folder / name).unlink(missing_ok=True)


def group_of(folder: Path) -> list[Path]:
    """The folders with which the run goes on, in the order of their lanes: itself, where it began
    alone; none where it has yet to begin."""
    folder = whole(folder)
    members = _recorded(folder)
    if _has_begun(members):
        return members
    return [folder] if begun(folder) else []


def _has_begun(members: Sequence[Path]) -> bool:
    # A record of a group that never got to its first checkpoint binds nobody.
    return any(begun(member) and _recorded(member) == members for member in members)


def form(folders: Sequence[Path]) -> None:
    """Notes in each folder that these runs train together, in this order.

    A member whose folder was emptied since the group began is lost: it would take the others back
    to the start. Raises BeganOtherwise where one of them did, and InputError where those with
    which it did are no longer there.
    """
    folders = [whole(folder) for folder in folders]
    for folder in folders:
        group = group_of(folder)
        if group not in ([], folders):
            raise _refusal(folder, group, way_out(folders) or way_out(group))
    gone = emptied(folders)
    for folder in folders:
        before = _read(folder)
        record = before
        if _recorded(folder) != folders:
            record = {"members": [os.path.relpath(other, folder) for other in folders]}
        if folder in gone:
            record = record | {"lost": EMPTIED}
        if record != before:
            write_json(folder / NAME, record)


def emptied(folders: Sequence[Path]) -> list[Path]:
    """Those members of a group that has begun whose checkpoints or record were deleted since."""
    folders = [whole(folder) for folder in folders]
    if not _has_begun(folders):
        return []
    # They save one after another: by itself none is two checkpoints behind another, unless lost.
    ahead = any(len(_steps(folder)) > 1 for folder in folders)
    return [
        folder
        for folder in folders
        if _recorded(folder) != folders
        or (ahead and not begun(folder) and lost(folder) in ("", EMPTIED))
    ]


def lose(folder: Path, reason: str) -> None:
    """Notes that a member cannot go on, so that the others will not wait for it."""
    write_json(folder / NAME, _read(folder) | {"lost": reason})


def lost(folder: Path) -> str:
    """Why the member cannot go on; empty where it can."""
    return _read(folder).get("lost", "")


def leave(folder: Path) -> None:
    """Makes sure that a run trains alone. Raises as `form` where it began with others."""
    folder = whole(folder)
    group = group_of(folder)
    if group not in ([], [folder]):
        raise _refusal(folder, group, way_out(group))
    (folder / NAME).unlink(missing_ok=True)


def way_out(folders: Sequence[Path]) -> str:
    """For the end of a message that these runs cannot go on together: what a begun group can do
    some of whose folders were emptied; nothing for others."""
    folders = [whole(folder) for folder in folders]
    gone = [os.path.relpath(folder) for folder in emptied(folders)]
    if not gone:
        return ""
    kept = [os.path.relpath(folder) for folder in folders if os.path.relpath(folder) not in gone]
    return (
        f"\n{', '.join(kept)} began in one program with {', '.join(gone)}, which was emptied, and "
        "can go on only beside a run of that kind there: empty that folder but for a config.json "
        "that differs from theirs in numbers alone (a sweep with the old cells writes it), or "
        "delete the folders of all to begin anew"
    )


def configs_of(folders: Sequence[Path]) -> list[ConfigDict]:
    """The configs of runs that can share a program. Raises InputError where they cannot, which says
    what a begun group can do."""
    try:
        return read_together(folders)
    except InputError as error:
        raise InputError(f"{error}{way_out(folders)}") from None


def _recorded(folder: Path) -> list[Path]:
    record = _read(folder)
    return [whole(folder / member) for member in record["members"]] if record else []


def _read(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(
            f"{folder / NAME} cannot be read ({error}): it said which runs train with this one; "
            "delete it, and the others of the group tell, or, with the whole folder, begin anew"
        ) from error


def _refusal(folder: Path, group: Sequence[Path], out: str) -> InputError:
    kind = InputError if out else BeganOtherwise
    return kind(f"{folder} began {_described(folder, group)}{out}")


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
