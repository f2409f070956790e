"""Files that several processes share: written whole or not at all, or by one at a time."""

import contextlib
import json
import os
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, TextIO


def write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_lines(path: Path, lines: Iterable[Any]) -> None:
    """One JSON value a line."""
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


@contextlib.contextmanager
def locked(path: Path) -> Generator[TextIO]:
    """The file, created where it is missing, for one process at a time: others wait here."""
    import fcntl  # not on Windows

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
