"""Configs: loading an experiment file, overriding and checking its values, keeping them as JSON.

`configs/default.py` creates every key; nothing here or elsewhere reads a key with a hidden default.
"""

import importlib.util
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from seq2seq_jax import config_checks
from seq2seq_jax.files import write_json
from seq2seq_jax.types import InputError

PROJECT = Path(__file__).resolve().parent.parent


def load(path: str, overrides: Mapping[str, Any] = {}) -> ConfigDict:
    """The checked, locked config of an experiment file.

    Args:
      path: `FILE.py` or `FILE.py:ARGUMENT` (handed to the file's `get_config`); looked up from the
        current folder, then from the project's.
      overrides: dotted key -> value, as `{"model.attention.score": "dot"}`.

    Raises:
      InputError: with every problem there is: unknown keys, wrong types, and what `validate` finds.
    """
    name, _, argument = path.partition(":")
    module = run_file(find(name))
    if argument and not _takes_argument(module, "get_config"):
        raise InputError(f"{name}: get_config() takes no argument, and {path} gives {argument!r}")
    config = _call(module, "get_config", *([argument] if argument else []))
    if not isinstance(config, ConfigDict):
        raise InputError(f"{name}: get_config() returned {type(config).__name__}, not a ConfigDict")
    config.lock()
    problems = _override(config, overrides)
    _raise(f"{path}", problems + _problems(config))
    return config


def points(path: str) -> list[dict[str, Any]]:
    """The cells of a file's `sweep()`, each as dotted overrides; `[{}]` where there is none.

    A `sweep` that takes an argument gets that of the path, as `get_config` does.
    """
    name, _, argument = path.partition(":")
    module = run_file(find(name))
    if not hasattr(module, "sweep"):
        return [{}]
    takes = argument and _takes_argument(module, "sweep")
    cells = _call(module, "sweep", *([argument] if takes else []))
    if not isinstance(cells, list | tuple) or not all(
        isinstance(cell, Mapping) and all(isinstance(key, str) for key in cell) for cell in cells
    ):
        raise InputError(
            f"{name}: sweep() has to return a list of cells, each a mapping of keys to values, as"
            ' product({"model.attention.score": ["dot", "concat"]}) of seq2seq_jax.sweeps.grid does'
        )
    cells = [{key: _plain(value) for key, value in cell.items()} for cell in cells]
    if not cells:
        raise InputError(f"{name}: sweep() gives no cell; return [{{}}] for the config alone")
    for cell in cells:
        if cells.count(cell) > 1:
            raise InputError(f"{name}: sweep() gives the cell {cell} more than once")
    return cells


def _plain(value: Any) -> Any:
    """A number of NumPy as one of Python."""
    return value.item() if type(value).__module__ == "numpy" and not value.shape else value


def find(name: str) -> Path:
    """The file `name`, from the current folder or else from the project's."""
    for folder in (Path.cwd(), PROJECT):
        if (folder / name).is_file():
            return folder / name
    shipped = sorted(str(path.relative_to(PROJECT)) for path in PROJECT.glob("configs/[!_]*.py"))
    raise InputError(
        f"no config file {name} in {Path.cwd()}{config_checks.nearest(name, shipped)}"
        f" (the project has {', '.join(shipped)})"
    )


def defaults() -> ConfigDict:
    """A fresh copy of `configs/default.py`: every key there is."""
    return run_file(PROJECT / "configs" / "default.py").get_config()


def validate(config: ConfigDict) -> None:
    """Raises InputError that lists all problems: of keys, types, choices, ranges, rules."""
    _raise("config", _problems(config))


def to_dict(config: ConfigDict) -> dict[str, Any]:
    """Nested plain dictionaries."""
    return config.to_dict()


def from_dict(values: Mapping[str, Any]) -> ConfigDict:
    """The inverse of `to_dict`, also after JSON has turned tuples into lists.

    A key that is newer than the values gets its default.
    """
    config = defaults()
    _raise("config", _override(config, flatten(values)))
    return config


def flatten(config: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of every leaf."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict | Mapping):
            flat.update({f"{key}.{rest}": leaf for rest, leaf in flatten(value).items()})
        else:
            flat[key] = value
    return flat


def save(config: ConfigDict, path: str | os.PathLike) -> None:
    """Writes the config as JSON, all of it or nothing."""
    write_json(Path(path), to_dict(config))


def read(path: str | os.PathLike) -> ConfigDict:
    """The config that `save` wrote; InputError names the file where it cannot be read."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"expected an object, not {type(values).__name__}")
        return from_dict(values)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is this the folder of a run?") from None
    except ValueError as error:
        raise InputError(f"{path}: not a config of this version: {error}") from error


def differences(old: ConfigDict, new: ConfigDict) -> list[str]:
    """A line for each key in which two configs of a run differ; how a sweep is laid out is no part
    of a run."""
    before, after = flatten(old), flatten(new)
    return [
        f"{key} was {before[key]!r} and is now {after[key]!r}"
        for key in after
        if before[key] != after[key] and not key.startswith("sweep.")
    ]


def _problems(config: ConfigDict) -> list[str]:
    return config_checks.problems(config, flatten(config), flatten(defaults()))


def run_file(path: Path) -> ModuleType:
    """The module that a file of Python is; it may import the project's `configs` and `seq2seq_jax`.

    Raises InputError with file, line and reason where it cannot be run.
    """
    if str(PROJECT) not in sys.path:
        sys.path.append(str(PROJECT))
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(_where(path, error)) from error
    return module


def _takes_argument(module: ModuleType, name: str) -> bool:
    function = getattr(module, name, None)
    return function is None or bool(inspect.signature(function).parameters)


def _call(module: ModuleType, name: str, *arguments: str) -> Any:
    path = Path(str(module.__file__))
    if not hasattr(module, name):
        raise InputError(f"{path}: has no {name}()")
    try:
        return getattr(module, name)(*arguments)
    except Exception as error:
        raise InputError(_where(path, error)) from error


def _where(path: Path, error: Exception) -> str:
    """File, line and reason of what went wrong in a config file; a typo gets the nearest key."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    line = f", line {lines[-1]}" if lines else ""
    read = error.name if isinstance(error, AttributeError) else None
    written = re.match(r"\W*Key \W*(\w+)\W* does not exist", str(error))
    if key := read or (written and written[1]):
        parts = sorted({part for full in flatten(defaults()) for part in full.split(".")})
        return f"{path}{line}: {config_checks.unknown(key, parts)}"
    return f"{path}{line}: {type(error).__name__}: {error}"


def _override(config: ConfigDict, overrides: Mapping[str, Any]) -> list[str]:
    """Assigns dotted keys in place; the problems come back as text."""
    problems, known = [], flatten(config)
    for key, value in overrides.items():
        if key not in known:
            problems.append(config_checks.unknown(key, known))
            continue
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError):
            expected, got = type(known[key]).__name__, type(value).__name__
            problems.append(f"{key} = {value!r}: expected {expected}, not {got}")
    return problems


def _raise(where: str, problems: list[str]) -> None:
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError("\n  ".join([f"{count} in {where}:", *problems]))
