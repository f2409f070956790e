"""The JSON files of a run, as they are found: what is damaged or of another form is left out.

Every function appends to `problems` what it has left out, one line each.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

# A type or a union; [kind]: a list of such; {key: kind}: an object with such values, of which a key
# that ends in ? may be absent; (kind, ...): one of several; None.
Kind = Any


def fits(value: Any, kind: Kind) -> bool:
    """Whether a value that was read from JSON has this form."""
    match kind:
        case None:
            return value is None
        case tuple():
            return any(fits(value, own) for own in kind)
        case [item]:
            return isinstance(value, list) and all(fits(one, item) for one in value)
        case dict():
            return isinstance(value, dict) and all(
                fits(value[name], own) if (name := key.removesuffix("?")) in value else name != key
                for key, own in kind.items()
            )
    return isinstance(value, kind)


def read_object(
    path: Path, problems: list[str], kinds: Mapping[str, Kind] | None = None
) -> dict[str, Any]:
    """The object in a file, less the keys whose values are not of their `kinds`; empty where there
    is no file, or a damaged one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        problems.append(f"{path}: expected JSON: {error}")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{path}: expected a JSON object, found {type(content).__name__}")
        return {}
    for key, kind in (kinds or {}).items():
        if key in content and not fits(content[key], kind):
            problems.append(f"{path}: {key} has another form than this version writes; left out")
            del content[key]
    return content


def read_lines(
    path: Path, problems: list[str], is_right: Callable[[dict[str, Any]], bool] = lambda line: True
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) for every line that `is_right`; a torn last line of a live or killed
    run is no news."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    others = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            if number < len(lines):  # the last line is torn when no line end follows it
                problems.append(f"{path}:{number}: expected a JSON object; the line is left out")
        elif is_right(content):
            yield number, content
        else:
            others.append(number)
    if others:
        problems.append(
            f"{path}:{others[0]}: {len(others)} lines of another form than this version writes are "
            "left out, of which this is the first"
        )
