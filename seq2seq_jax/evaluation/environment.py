"""Where a run happened: versions, device, commit, command; kept beside its results."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from seq2seq_jax import processor
from seq2seq_jax.config import PROJECT
from seq2seq_jax.files import write_json

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "sacrebleu")


def environment() -> dict[str, Any]:
    """What a reader of the results has to know to get them again."""
    devices = jax.local_devices()
    on_cpu = devices[0].platform == "cpu"
    return {
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "platform": devices[0].platform,
        "device": processor.name() if on_cpu else devices[0].device_kind,
        "devices": 1 if on_cpu else len(devices),  # those of a CPU are its cores
        "cores": processor.cores(),
        "commit": _commit(),
        "command": shlex.join(["python", "-m", "seq2seq_jax", *sys.argv[1:]]),
    }


def write_environment(workdir: Path) -> None:
    write_json(workdir / "environment.json", environment())


def _commit() -> str:
    """The project's commit, with + where files differ from it; empty outside a checkout."""
    git = ["git", "-C", str(PROJECT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return ""
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
