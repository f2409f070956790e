"""Checkpoints of one run, through Orbax: the last ones to go on from, the best one to use.

    checkpoints/last/STEP/{state,host}   everything that a resumed run needs, in one atomic piece
    checkpoints/best/STEP/{state,host}   the parameters that were evaluated at the best step

A tree is stored flat, as {"params/decoder/...": array}, so that the files outlive the containers
of Flax and Optax, and as host arrays, so that any number and kind of devices can read them.
Saving is synchronous: it costs 60 ms for a state of 8 MB (two CPU cores), of which an
asynchronous save would hide 45 ms, but could fail after the run has gone on.
"""

import contextlib
import errno
import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from seq2seq_jax.types import InputError


class Saved(NamedTuple):
    """What was found: a tree of host arrays, and the JSON beside it."""

    step: int
    tree: Any
    host: dict[str, Any]


class DamagedError(Exception):
    """A checkpoint whose content is not what was written, or not what is asked for."""


class Checkpoints:
    """The folders `last` and `best` of one run, for the process that trains it.

    In `last` stay the `keep` newest, and the `keep` newest that no signal asked for.
    """

    def __init__(self, folder: Path, keep: int):
        folder = Path(folder).absolute()
        self._last, self._best = _manager(folder / "last"), _manager(folder / "best")
        self._keep = keep
        self._hosts: dict[int, dict[str, Any]] = {}  # by step in `last`

    def restore(
        self, like: Any, warn: Callable[[str], None], limit: int | None = None
    ) -> Saved | None:
        """The newest whole checkpoint, as host arrays in the structure of `like`; None: no runs.

        Those of steps above `limit` are removed: the run goes back behind them.

        A damaged one, or one whose best is, is reported through `warn` and removed once an older
        one has been read.
        Raises InputError where checkpoints exist and none can be read.
        """
        for step in self._last.all_steps():
            if limit is not None and step > limit:
                self._last.delete(step)
        damaged, found = [], None
        for step in sorted(self._last.all_steps(), reverse=True):
            folder = Path(self._last.directory) / str(step)
            try:
                if found is None:
                    newest = _load(self._last, step, like)
                    if (best := newest.host["best_step"]) >= 0:  # the test will want it
                        folder = Path(self._best.directory) / str(best)
                        _load(self._best, best, like.params)
                    found = newest
                    self._hosts[step] = found.host
                else:  # of the older ones, what decides how long they and their best stay
                    self._hosts[step] = _load_host(self._last, step)
            except Exception as error:
                warn(f"warning: the checkpoint {folder} cannot be read: {_reason(error)}")
                damaged.append(step)
        if found is None:
            if damaged:
                raise InputError(
                    f"none of the checkpoints in {self._last.directory} can be read; "
                    "remove that folder to train from the start"
                )
            self._forget_best(after=-1)
            return None
        for step in damaged:
            self._last.delete(step)
        # Of a step that this run has yet to reach again.
        self._forget_best(after=found.step)
        warn(f"going on from the checkpoint of step {found.step}")
        return found

    def save_best(self, step: int, params: Any) -> None:
        """Stores the parameters that were just evaluated; `save` with this best_step follows."""
        _save(self._best, step, params, {})

    def save(self, step: int, tree: Any, host: dict[str, Any]) -> None:
        """Stores a state: whole, or after a kill not at all.

        `host` is JSON; host["best_step"] names the checkpoint in `best` that goes with it (-1:
        none), which stays as long as this one does. host["planned"] is false for one that a
        signal asked for: it takes the place of none, so that the last planned ones are those of
        a run that was left alone.
        """
        _save(self._last, step, tree, host)
        self._hosts[step] = host
        steps = sorted(self._last.all_steps())
        planned = [old for old in steps if _is_planned(self._hosts.get(old, {}))]
        kept = {*steps[-self._keep :], *planned[-self._keep :]}
        for old in set(steps) - kept:
            self._last.delete(old)
        needed = {self._hosts[old]["best_step"] for old in kept if old in self._hosts}
        for old in self._best.all_steps():
            if old not in needed:
                self._best.delete(old)

    def _forget_best(self, after: int) -> None:
        for step in self._best.all_steps():
            if step > after:
                self._best.delete(step)

    def close(self) -> None:
        self._last.close()
        self._best.close()


def restore_best(folder: Path, like: Any) -> Saved:
    """The best parameters in `folder` (a run's `checkpoints`), in the structure of `like`.

    `like` holds anything with shape and dtype. Raises InputError where there are none, or they
    are damaged, or belong to another model.
    """
    way_out = (
        "; where it is damaged, delete DONE, if there is one, and give the training's command "
        "again: it goes on from the one before"
    )
    (saved,) = _read_newest(Path(folder).absolute() / "best", 1, like, "", way_out)
    return saved


def restore_average(folder: Path, like: Any, count: int, part: str = "params") -> Saved:
    """The mean of the parameters of the `count` newest checkpoints in `folder`, but for those that
    a signal asked for; their last step is the step. `part` of the training's state is "params" or
    "ema".

    Raises InputError where there are not so many, and as `restore_best`.
    """
    newest = _read_newest(Path(folder).absolute() / "last", count, like, f"{part}/")
    if len(newest) < count:
        raise InputError(
            f"{folder} has {len(newest)} checkpoints to average, not {count} (one that was made "
            f"because the run was stopped does not count): an average of {count} needs a training "
            f"with train.keep_checkpoints={count} or more"
        )
    trees = [saved.tree for saved in newest]
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0, dtype=leaves[0].dtype), *trees)
    return Saved(newest[-1].step, mean, {})


def _read_newest(
    folder: Path, count: int, like: Any, prefix: str, way_out: str = ""
) -> list[Saved]:
    """The last `count` planned checkpoints, oldest first: of each what begins with `prefix`."""
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist: nothing has been evaluated there yet")
    # Neither creates nor cleans up: the run may be training at this moment.
    options = ocp.CheckpointManagerOptions(create=False, enable_async_checkpointing=False)
    found: list[Saved] = []
    with ocp.CheckpointManager(folder, options=options) as manager:
        steps = sorted(manager.all_steps())
        if not steps:
            raise InputError(f"{folder} is empty: nothing has been evaluated there yet")
        while steps and len(found) < count:
            step = steps.pop()
            try:
                if _is_planned(_load_host(manager, step)):
                    found.append(_load(manager, step, like, prefix))
            except Exception as error:
                raise InputError(
                    f"the checkpoint {folder / str(step)} cannot be read: {_reason(error)}{way_out}"
                ) from error
    return found[::-1]


def _is_planned(host: dict[str, Any]) -> bool:
    return host.get("planned", True)


@contextlib.contextmanager
def explained_disk_errors(folder: Path) -> Generator[None]:
    """Turns a full disk, however a library reports it, into an InputError with the way out."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        no_space = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if not no_space and "No space left on device" not in str(error):
            raise
        raise InputError(
            f"the disk is full: writing to {folder} failed. The checkpoints that are there are "
            "whole; free some space and start the same command again to go on"
        ) from error


def _manager(folder: Path) -> ocp.CheckpointManager:
    for torn in folder.glob("*.orbax-checkpoint-tmp*"):  # a save that was killed
        shutil.rmtree(torn)
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder, options=options)


def _save(manager: ocp.CheckpointManager, step: int, tree: Any, host: dict[str, Any]) -> None:
    flat = jax.device_get(_flat(tree))
    # Asked before, since Orbax's threads print their own words of a disk that fills up.
    disk = shutil.disk_usage(manager.directory)  # a total of 0 on file systems that do not know it
    if disk.total and disk.free < sum(array.nbytes for array in flat.values()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(manager.directory))
    host = host | {"checksum": _checksum(flat, host)}
    items = ocp.args.Composite(state=ocp.args.StandardSave(flat), host=ocp.args.JsonSave(host))
    with _quiet_orbax():
        manager.save(step, args=items, force=True)


def _load(manager: ocp.CheckpointManager, step: int, like: Any, prefix: str = "") -> Saved:
    """A whole checkpoint, or the part of it whose names begin with `prefix`."""
    found = _read(manager, step, state=ocp.args.StandardRestore(), host=ocp.args.JsonRestore())
    flat, host = dict(found["state"]), dict(found["host"])
    checksum = host.pop("checksum", None)
    if checksum != _checksum(flat, host):
        raise DamagedError("its content changed after it was written (checksum)")
    flat = {k.removeprefix(prefix): leaf for k, leaf in flat.items() if k.startswith(prefix)}
    expected = {name: (leaf.shape, leaf.dtype) for name, leaf in _flat(like).items()}
    stored = {name: (leaf.shape, leaf.dtype) for name, leaf in flat.items()}
    for name in sorted(expected.keys() | stored.keys()):
        want, have = (_described(kinds, name) for kinds in (expected, stored))
        if want != have:
            raise DamagedError(f"it belongs to another config: {name} is {have}, not {want}")
    tree = jax.tree.unflatten(jax.tree.structure(like), [flat[name] for name in expected])
    return Saved(step, tree, host)


def _load_host(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    return dict(_read(manager, step, host=ocp.args.JsonRestore())["host"])


def _read(manager: ocp.CheckpointManager, step: int, **items: Any) -> Any:
    with _quiet_orbax():
        return manager.restore(step, args=ocp.args.Composite(**items))


@contextlib.contextmanager
def _quiet_orbax() -> Generator[None]:
    """Orbax logs the traceback of an error and raises it too: the message we make is enough."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _described(kinds: dict[str, tuple], name: str) -> str:
    if name not in kinds:
        return "absent"
    shape, dtype = kinds[name]
    return f"{np.dtype(dtype)}{list(shape)}"


def _flat(tree: Any) -> dict[str, Any]:
    """Leaves by path, in the order of the tree."""
    leaves = jax.tree.leaves_with_path(tree)
    flat = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    assert len(flat) == len(leaves), "two leaves of one name"
    return flat


def _checksum(flat: dict[str, np.ndarray], host: dict[str, Any]) -> int:
    """CRC-32 of the JSON, and of names, types, shapes and values of the arrays."""
    code = zlib.crc32(json.dumps(host, sort_keys=True).encode())
    for name in sorted(flat):
        array = flat[name]
        code = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), code)
        code = zlib.crc32(array.tobytes(), code)
    return code


def _reason(error: Exception) -> str:
    if isinstance(error, DamagedError):
        return str(error)
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}"
