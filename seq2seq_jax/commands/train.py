"""Trains one run; the same command resumes it.

    ./launch.sh train --config=configs/X.py[:argument] --workdir=DIR [--config.KEY=VALUE ...]

A folder that holds a config.json needs no --config: the run starts or goes on with it. Ctrl-C saves
and ends.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.commands import common
from seq2seq_jax.types import InputError


def define() -> flags.FlagValues:
    return common.make_flags("workdir", "platform", "config")


def main(arguments: Sequence[str]) -> int:
    from seq2seq_jax.sweeps import child, claims

    overrides, others = common.split_overrides(arguments)
    values = define()
    common.parse(values, others)
    common.require(values, "workdir")
    workdir = Path(values.workdir)
    config = resolve(values.config, workdir, overrides)
    try:
        with claims.claim(workdir):
            common.use_platform(values.platform)
            from seq2seq_jax.evaluation.run import train

            train(config, workdir)
    except claims.Busy as error:
        print(f"error: {error}", file=sys.stderr)
        return child.BUSY
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
