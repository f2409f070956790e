"""Trains one run, or several as one program; the same command resumes them.

    ./launch.sh train --config=configs/X.py[:argument] --workdir=DIR [--config.KEY=VALUE ...]
    ./launch.sh train --workdir=DIR1 --workdir=DIR2 ...

A folder that holds a config.json needs no --config: the run starts or goes on with it. Several
folders, as a sweep prepares them, train as one program where the runs differ in numbers alone
(seed, ratio, learning rate and the like). Ctrl-C saves and ends.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.commands import common
from seq2seq_jax.processor import keep_memory_for
from seq2seq_jax.types import InputError


def define() -> flags.FlagValues:
    values = common.make_flags("platform", "config")
    flags.DEFINE_multi_string(
        "workdir",
        None,
        "Folder of the run; repeated for runs that train together.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "measure",
        False,
        "With several folders: print as JSON what an update takes, of one run and of all in one"
        " program, and end.",
        flag_values=values,
    )
    return values


def main(arguments: Sequence[str]) -> int:
    from seq2seq_jax.sweeps import child, claims
    from seq2seq_jax.training import groups

    overrides, others = common.split_overrides(arguments)
    values = define()
    common.parse(values, others)
    common.require(values, "workdir")
    folders = [Path(workdir) for workdir in values.workdir]
    if len(folders) > 1 and (values.config or overrides):
        raise common.UsageError("--config goes with one --workdir; each of several has its own")
    if values.measure and len(folders) == 1:
        raise common.UsageError("--measure compares several --workdir in one program with one")
    if len(folders) > 1:
        groups.configs_of(folders)  # says what is wrong before JAX is imported
    if values.measure:
        common.use_platform(values.platform)
        return measure(folders)
    config = resolve(values.config, folders[0], overrides) if len(folders) == 1 else None
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_ends_by_signals())
            for folder in folders:
                stack.enter_context(claims.claim(folder))
            keep_memory_for((config or configs.read(folders[0] / "config.json")).model)
            common.use_platform(values.platform)
            return train(folders, config)
    except (claims.Busy, groups.BeganOtherwise) as error:
        # Another sweep may have begun some of the runs after this one planned: no failure of any.
        print(f"error: {error}", file=sys.stderr)
        return child.BUSY


@contextlib.contextmanager
def _ends_by_signals() -> Generator[None]:
    """SIGTERM ends the process by an exception, as Ctrl-C does, which gives its claims back: from
    another machine nobody can see that it is gone. While the loop trains, signals are the loop's.

    Python drops an exception that comes up in a callback, and JAX has one whenever garbage is
    collected: then the signal comes once more.
    """

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    def once_more(dropped: Any) -> None:
        numbers = {SystemExit: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}
        if number := numbers.get(dropped.exc_type):
            threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        else:
            hook(dropped)

    before, hook = signal.signal(signal.SIGTERM, end), sys.unraisablehook
    sys.unraisablehook = once_more
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)


def train(folders: Sequence[Path], config: ConfigDict | None) -> int:
    if config is not None:
        from seq2seq_jax.evaluation import run

        run.train(config, folders[0])
        return 0
    from seq2seq_jax.evaluation.population import train_population

    failed = train_population(folders)
    for reason in failed.values():
        print(f"error: {reason}", file=sys.stderr)
    return 1 if failed else 0


def measure(folders: Sequence[Path]) -> int:
    from seq2seq_jax.benchmarking.population import measure_population

    print(json.dumps(measure_population(folders)))
    return 0


def resolve(path: str | None, workdir: Path, overrides: Sequence[str]) -> ConfigDict:
    """The config of the command line, or else the one that the folder holds."""
    if path is not None:
        return configs.load(path, common.parse_overrides(overrides))
    if overrides:
        raise common.UsageError(f"{overrides[0]} needs --config=FILE.py")
    saved = workdir / "config.json"
    if not saved.exists():
        raise InputError(f"{workdir} holds no config.json, so --config=FILE.py is needed")
    return configs.read(saved)
