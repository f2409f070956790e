"""Which runs can train as one program: what their configs have to have in common.

The training step takes some numbers as arguments, and the host decides others between updates.
Runs that differ in these alone can share a program, the batch shapes and the data set.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seq2seq_jax.config import flatten, read, validate
from seq2seq_jax.types import InputError

# Arguments of the step: of its `Hyper`, its key, its state or its batch.
TRACED = (
    "seed",
    "model.dropout.input",
    "model.dropout.output",
    "model.attention.temperature",
    "train.learning_rate",
    "train.label_smoothing",
    "train.coverage_loss",
    "train.guided_alignment",
    "teacher_forcing.ratio",
    "teacher_forcing.temperature",
)
# What the host makes of them, update by update or after an evaluation.
DECIDED = (
    "train.schedule",
    "train.warmup_steps",
    "train.halving_start",
    "train.halving_every",
    "train.plateau_patience",
    "train.plateau_factor",
    "train.best_metric",
    "train.patience",
    "train.keep_checkpoints",
    "teacher_forcing.schedule",
    "teacher_forcing.floor",
    "teacher_forcing.decay",
)
OWN = (*TRACED, *DECIDED)


def signature(config: ConfigDict) -> dict[str, Any]:
    """All that fixes programs, batches and data; equal for runs that can share a program.

    Beside the keys that are not a run's own it says which parts of the step are there at all: a
    dropout of 0 draws no mask, and where gold is always fed the step chooses no words.
    """
    common = {
        key: value
        for key, value in flatten(config).items()
        if key not in OWN and not key.startswith("sweep.")
    }
    forcing, dropout = config.teacher_forcing, config.model.dropout
    steady = forcing.ratio if forcing.schedule == "constant" else forcing.floor
    return common | {
        "model.dropout.input > 0": dropout.input > 0,
        "model.dropout.output > 0": dropout.output > 0,
        "train.coverage_loss > 0": config.train.coverage_loss > 0,
        "train.guided_alignment > 0": config.train.guided_alignment > 0,
        "teacher_forcing.ratio = 1 throughout": steady >= 1,
    }


def obstacles(configs: Sequence[ConfigDict]) -> list[str]:
    """What keeps runs from sharing a program, a line a key: where signatures differ, and what no
    two runs can share. Empty where they can."""
    signatures = [signature(config) for config in configs]
    lines = []
    for key in signatures[0]:
        values = list(dict.fromkeys(repr(found[key]) for found in signatures))
        if len(values) > 1:
            lines.append(f"{key}: {', '.join(values)}")
    if len(configs) > 1 and all(config.model.encoder.kernel == "cudnn" for config in configs):
        lines.append("model.encoder.kernel: cudnn computes one run at a time; take scan")
    return lines


def refuse_obstacles(configs: Sequence[ConfigDict]) -> None:
    """Raises InputError for runs that cannot train as one program."""
    if lines := obstacles(configs):
        raise InputError(
            "these runs cannot train as one program, which takes runs that differ in numbers alone;"
            " train each by a command of its own:\n  " + "\n  ".join(lines)
        )


def read_together(folders: Sequence[Path]) -> list[ConfigDict]:
    """The configs of the runs in these folders, which can share a program.

    Raises InputError where a folder holds no run, is given twice, or they cannot.
    """
    if len(set(folders)) < len(folders):
        raise InputError("one folder is given twice; each run has its own")
    configs = [read(folder / "config.json") for folder in folders]
    for config in configs:
        validate(config)
    refuse_obstacles(configs)
    return configs
