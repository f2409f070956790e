"""Where text comes from: a generated task, the user's files, or tensorflow-datasets."""

import codecs
import difflib
import gzip
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import ml_collections

from seq2seq_jax.data.holdout import complete
from seq2seq_jax.data.links import with_links
from seq2seq_jax.types import InputError, Pair, Splits

TFDS = "tfds:"
GZIP = b"\x1f\x8b"
NUL = "a NUL character"
NAMES = re.compile(r'"([^"]+)"|(\S+)')


def load_pairs(data: ml_collections.ConfigDict) -> Splits:
    """The three splits of the data set that `data.name` names, as text.

    `text`: the files of `data.train`, `data.valid`, `data.test` below `data.dir`; `tfds:NAME`
    or `tfds:NAME/CONFIG`: tensorflow-datasets; else a task of data/tasks. Raises InputError that
    names the key, or the file and line, and the fix.
    """
    if data.name.startswith(TFDS):
        from seq2seq_jax.data.tfds_source import load_tfds

        return load_tfds(data)
    if data.name == "text":
        return load_text(data)
    from seq2seq_jax.data.tasks import TASKS

    return TASKS[data.name](data)


def load_text(data: ml_collections.ConfigDict) -> Splits:
    """Parallel files or TSV, plain or .gz; splits that have no file are held out of train."""
    given, notes, folder = {}, [], Path(data.dir).expanduser()
    for split in ("train", "valid", "test"):
        if data[split]:
            given[split], note = read_pairs(data[split], folder, f"data.{split}", data)
            notes += note
    return complete(given, data, notes)


def read_pairs(
    names: str, folder: Path, key: str, data: ml_collections.ConfigDict
) -> tuple[list[Pair], list[str]]:
    """The pairs of the files that `key` names, and a note on pairs with an empty side, which are
    left out.

    Two names separated by a space are parallel files, source first, and a third one has their gold
    links (`links`); one name is a TSV whose columns `data.columns` (counted from 0) hold source and
    target. A name that holds spaces stands in double quotes.
    """
    home = os.path.expanduser
    one = os.path.isfile(folder / home(names))  # its name may hold spaces
    several = (quoted or plain for quoted, plain in NAMES.findall(names))
    paths = [folder / home(name) for name in ([names] if one else several)]
    if len(paths) in (2, 3):
        lines = [read_lines(path, key) for path in paths]
        for path, own in zip(paths[1:], lines[1:], strict=True):
            if len(own) != len(lines[0]):
                raise InputError(
                    f"{key}: parallel files must have the same number of lines, but {paths[0]} has "
                    f"{len(lines[0])} and {path} has {len(own)}"
                )
        pairs = [as_pair(*row) for row in zip(*lines[:2], strict=True)]
        if len(paths) == 3:
            pairs = with_links(pairs, lines[2], paths[2])
    elif len(paths) == 1:
        rows = _columns(paths[0], read_lines(paths[0], key), data.columns)
        pairs = [as_pair(*row) for row in rows]
    else:
        raise InputError(
            f"{key}={names!r} names {len(paths)} files: name two parallel files, separated "
            "by a space, a third one with their gold links if there is one, or one TSV; a name "
            "that holds spaces stands in double quotes"
        )
    return drop_empty(pairs, key.removeprefix("data."), str(paths[0]))


def drop_empty(found: Sequence[Pair], split: str, place: str) -> tuple[list[Pair], list[str]]:
    """The pairs whose sides have text, and a note that counts the others."""
    pairs = [pair for pair in found if pair.source and pair.target]
    if len(pairs) == len(found):
        return pairs, []
    first = next(i for i, pair in enumerate(found) if not (pair.source and pair.target))
    left_out = f"{len(found) - len(pairs)} pairs with an empty side left out"
    return pairs, [f"{split}: {left_out}, first: {place}:{first + 1}"]


def as_pair(source: str, target: str, *more: str) -> Pair:
    """Source and target, stripped, and what else is as right as the target."""
    target = target.strip()
    others = (text for text in map(str.strip, more) if text and text != target)
    return Pair(source.strip(), target, alternatives=tuple(dict.fromkeys(others)))


def read_lines(path: Path, key: str) -> list[str]:
    """The lines of a UTF-8 text file, plain or by gzip, without their ends.

    Lines end at a line feed only: a Unicode line separator is part of its line, as in every tool
    that counts lines. `key` is the config key that named the file.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz" or content.startswith(GZIP):
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise InputError(f"{key}: {path} does not exist{_near(key, path)}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{key}: {path} is not a whole gzip file ({error}): get it again, or drop .gz from "
            "its name if it is plain text"
        ) from None
    except OSError as error:
        raise InputError(f"{key}: {path} cannot be read: {error.strerror}") from None
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    try:
        decoded = [line.decode("utf-8").removesuffix("\r") for line in lines]
        is_text = b"\0" not in content
    except UnicodeDecodeError:
        decoded, is_text = [], False
    if not is_text:
        raise InputError(_what_is_no_text(path, content, lines))
    return decoded


def _what_is_no_text(path: Path, content: bytes, lines: Sequence[bytes]) -> str:
    """Where the first bytes are that are no UTF-8, or a NUL character, and the fix."""
    number, reason = next(
        (number, reason) for number, line in enumerate(lines, 1) if (reason := _no_text(line))
    )
    boms = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
    if content.startswith(boms) or content.count(b"\0") > len(content) // 4:
        fix = "iconv -f utf-16 -t utf-8"
    else:
        fix = "tr -d '\\000'" if reason == NUL else "iconv -f latin1 -t utf-8"
    return f"{path}:{number}: {reason}: convert the file, for example with {fix}"


def _no_text(line: bytes) -> str:
    try:
        return NUL if "\0" in line.decode("utf-8") else ""
    except UnicodeDecodeError as error:
        return f"not UTF-8 ({error})"


def _columns(path: Path, lines: Sequence[str], columns: Sequence) -> list[tuple[str, str]]:
    """Source and target of each line of a TSV; a blank line counts as an empty pair."""
    if len(columns) != 2 or not all(isinstance(c, int) and c >= 0 for c in columns):
        raise InputError(
            f"data.columns={tuple(columns)!r}: a TSV needs two column numbers, counted from 0"
        )
    source, target = columns
    rows = []
    for number, line in enumerate(lines, 1):
        fields = line.split("\t")
        if len(fields) > max(source, target):
            rows.append((fields[source], fields[target]))
        elif line.strip():
            raise InputError(
                f"{path}:{number}: {len(fields)} tab-separated columns, expected at least "
                f"{max(source, target) + 1} (data.columns={source},{target}): {line[:60]!r}"
            )
        else:
            rows.append(("", ""))
    return rows


def _near(key: str, path: Path) -> str:
    """What the user may have meant by a file that is not there."""
    folder = "data.dir" if key.startswith("data.") else key
    if not path.parent.is_dir():
        return f", and neither does its folder {path.parent}: check {folder}"
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], 3)
    return f"; the folder has {', '.join(near)}" if near else f"; check {folder}"
