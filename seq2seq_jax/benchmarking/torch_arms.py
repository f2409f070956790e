"""PyTorch as an arm of the benchmark: where it is, as installed, and with MKL's widest path."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seq2seq_jax.benchmarking.peers import Arm
from seq2seq_jax.benchmarking.workloads import variant
from seq2seq_jax.config import PROJECT
from seq2seq_jax.processor import instructions
from seq2seq_jax.types import InputError

PROGRAM = PROJECT / "benchmarks" / "torch_reference.py"
MISSING = """
import importlib.util
print(*(name for name in ("torch", "numpy") if importlib.util.find_spec(name) is None))
"""
# MKL asks this function of its own, on which its choice of instructions hangs.
INTEL = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"

# What a variant of a workload may change; of some keys the PyTorch program knows these values only.
VARIANTS = (
    "seed",
    "data.",
    "evaluation.batch_size",
    "evaluation.beam",
    "evaluation.max_length",
    "teacher_forcing.ratio",
    "teacher_forcing.granularity",  # theirs is one coin a step for the batch, always
    "model.dtype",
    "train.adam_b1",
    "train.adam_b2",
    "train.clip_norm",
    "train.learning_rate",
)
RECURRENT = {
    "model.embedding": (),
    "model.encoder.width": (),
    "model.decoder.width": (),
    "model.decoder.input_feeding": (),
    "model.decoder.order": ("luong", "bahdanau"),
    "model.attention.score": ("dot", "general", "concat"),
    "model.attention.width": (),
}
TRANSFORMER = {
    "model.embedding": (),
    "model.encoder.width": (),
    "model.decoder.width": (),
    "model.encoder.layers": (),
    "model.decoder.layers": (),
    "model.attention.heads": (),
    "model.transformer.heads": (),
    "model.transformer.mlp_width": (),
}
# What a model of this kind does not read, here or there.
UNREAD = {
    "recurrent": ("model.transformer.", "model.attention.max_positions"),
    "transformer": ("model.attention.width",),
}

# What translating with a trained model asks of its config, and what of that says nothing then.
OF_SEARCH = ("model.", "evaluation.")
TRAINING_ALONE = (
    "model.dropout.",
    "model.encoder.kernel",
    "model.forget_bias",
    "evaluation.modes",
    "evaluation.show",
    "evaluation.max_examples",
)


def refuse_run(config: ConfigDict) -> None:
    """Raises InputError for a trained run that the PyTorch program cannot translate with."""
    name = "luong" if config.model.encoder.kind == "recurrent" else "transformer"
    changes = variant(name, config).items()
    asked = {key: x for key, x in changes if key.startswith(OF_SEARCH)}
    _refuse({key: x for key, x in asked.items() if not key.startswith(TRAINING_ALONE)}, config)


def refuse(name: str, config: ConfigDict) -> None:
    """Raises InputError for a variant that the PyTorch program does not know."""
    _refuse(variant(name, config), config)


def _refuse(changes: Mapping[str, Any], config: ConfigDict) -> None:
    model, kind = config.model, config.model.encoder.kind
    known = RECURRENT if kind == "recurrent" else TRANSFORMER
    for key, value in changes.items():
        if key.startswith((*VARIANTS, *UNREAD[kind])):
            continue
        if key in known and value in (known[key] or (value,)):
            continue
        values = f"; it knows {', '.join(known[key])}" if key in known else ""
        raise InputError(f"--vs=torch: the PyTorch program has no {key}={value}{values}")
    widths = model.embedding, model.encoder.width, model.decoder.width
    if kind == "transformer" and len(set(widths)) > 1:
        raise InputError(
            "--vs=torch: a Transformer of the PyTorch program has one width; model.embedding,"
            f" encoder.width and decoder.width are {', '.join(map(str, widths))}"
        )


def make_arms(python: str | None, avx512: bool, folder: Path) -> list[Arm]:
    """PyTorch of an interpreter (by default the one at work) as installed, and with `avx512` also
    with a library that is built into `folder`.

    Raises:
      InputError: without PyTorch, or without what the library needs.
    """
    command = [find_python(python), str(PROGRAM)]
    arms = [Arm("as installed", command, {})]
    if avx512:
        libraries = [str(build_library(folder)), os.environ.get("LD_PRELOAD", "")]
        path = "512-bit path" if "avx512f" in instructions() else "256-bit path"
        arms.append(Arm(path, command, {"LD_PRELOAD": " ".join(filter(None, libraries))}))
    return arms


def find_python(path: str | None) -> str:
    """The interpreter, if it has PyTorch and NumPy."""
    python = path or sys.executable
    try:
        asked = subprocess.run([python, "-c", MISSING], capture_output=True, text=True)
    except OSError as error:
        raise InputError(f"--torch-python={python}: {error.strerror}") from None
    if asked.returncode:
        raise InputError(f"--torch-python={python}: no Python answers there")
    if missing := asked.stdout.split():
        raise InputError(
            f"--vs=torch: {python} has no {' and no '.join(missing)}. PyTorch is no part of this"
            " project; give it a virtual environment of its own:\n"
            "  python3 -m venv torch-venv\n"
            "  torch-venv/bin/pip install torch numpy\n"
            "and add --torch-python=torch-venv/bin/python"
        )
    return python


def build_library(folder: Path) -> Path:
    """A shared library that, loaded before MKL, lets it take any processor for Intel's.

    Without 512-bit instructions that gains too (benchmarks/README.md, "A processor without").
    """
    if "avx2" not in instructions():
        raise InputError(
            "--torch-avx512: this processor has no avx2, so MKL has no wider path here; leave the"
            " flag out"
        )
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    compiler = next(filter(None, map(shutil.which, filter(None, names))), None)
    if compiler is None:
        raise InputError(
            "--torch-avx512: no C compiler (cc, gcc or clang) was found to build a library of one"
            " function with; install one, or name it: CC=/path/to/compiler"
        )
    source, library = folder / "intel.c", folder / "intel.so"
    source.write_text(INTEL, encoding="utf-8")
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        raise InputError(f"--torch-avx512: {' '.join(command)}: {built.stderr.strip()}")
    return library
