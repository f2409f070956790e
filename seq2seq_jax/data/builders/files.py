"""Files of a data set: found in a folder, or downloaded and verified."""

import hashlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq_jax.types import InputError

TIMEOUT = 60  # seconds without an answer


class Remote(NamedTuple):
    """A file to download: where it is, its bytes, and their SHA-256."""

    url: str
    size: int
    sha256: str


def locate(folder: Path, names: Iterable[str], instructions: str) -> list[Path]:
    """The files in the folder, each by its name or with .gz. Raises InputError where one lacks."""
    found, missing = [], []
    for name in names:
        candidates = [folder / name, folder / f"{name}.gz"]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            missing.append(name)
        else:
            found.append(path)
    if missing:
        raise InputError(
            f"data.dir: {folder} has no {', '.join(missing)} (nor the same with .gz)\n"
            f"{instructions}"
        )
    return found


def fingerprint(paths: Sequence[Path]) -> str:
    """Twelve hexadecimal digits that change with the content of any of the files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def verify(path: Path, size: int, sha256: str) -> None:
    """Raises InputError where the file's bytes are not the published ones."""
    actual = path.stat().st_size
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if (actual, digest) != (size, sha256):
        raise InputError(
            f"{path}: not the published file: {actual} bytes, sha256 {digest}; "
            f"expected {size} bytes, sha256 {sha256}"
        )


def download(remote: Remote, path: Path) -> Path:
    """Downloads to `path`, unless it is there. What does not verify is deleted, never used."""
    if path.exists():
        verify(path, remote.size, remote.sha256)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with (
            urllib.request.urlopen(remote.url, timeout=TIMEOUT) as answer,
            partial.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
        verify(partial, remote.size, remote.sha256)
        partial.replace(path)
    except (urllib.error.URLError, TimeoutError) as error:
        raise InputError(f"{remote.url} cannot be downloaded: {error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return path
