"""One process trains in a run folder at a time."""

import contextlib
import json
import os
import socket
from collections.abc import Generator
from pathlib import Path

from seq2seq_jax.files import locked
from seq2seq_jax.types import InputError

NAME = "claim.json"


class Busy(InputError):
    """Another process trains in the folder."""


@contextlib.contextmanager
def claim(folder: Path) -> Generator[None]:
    """Holds `folder` for this process. Raises Busy while another one, alive, holds it.

    A claim says who holds it (host, process id, start of the process). One whose process on this
    host is gone is taken over; one of another host cannot be checked and counts as alive.
    """
    path = folder / NAME
    # The lock covers looking and writing, so that of two processes that find a dead claim one wins.
    with locked(path) as file:
        if owner := _holder(path):
            raise Busy(
                f"{folder}: process {owner['pid']} on {owner['host']} trains in it;"
                f" wait for it, or delete {path} if that process is gone"
            )
        file.truncate(0)
        json.dump(_self(), file)
    try:
        yield
    finally:
        # Emptied, not deleted: a process may be waiting for the lock of this very file.
        path.write_text("", encoding="utf-8")


def holder(folder: Path) -> str:
    """`process 12 on host` that trains in `folder`, or an empty string."""
    owner = _holder(folder / NAME)
    return f"process {owner['pid']} on {owner['host']}" if owner else ""


def _holder(path: Path) -> dict:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(owner, dict) or not owner.keys() >= {"host", "pid", "start"}:
        return {}
    if owner["host"] == socket.gethostname() and owner["start"] != _start(owner["pid"]):
        return {}
    return owner


def _self() -> dict:
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "start": _start(pid)}


def _start(pid: int) -> str:
    """When a process of this host started, since ids are used again; empty where it is gone."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
