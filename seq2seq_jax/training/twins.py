"""Runs of a sweep that train alike and search otherwise: one training serves all.

How the test is searched (beam, penalties) has no part in a training. So a run whose twin has ended
begins with the twin's checkpoints and logs, at the last update, and only its test is its own. No
JAX here.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.training import groups
from seq2seq_jax.types import InputError

# Keys of the config that only a test follows.
TESTED = (
    "evaluation.beam",
    "evaluation.length_penalty",
    "evaluation.length_alpha",
    "evaluation.coverage_penalty",
    "evaluation.min_length",
    "evaluation.block_ngrams",
    "evaluation.replace_unknown",
    "evaluation.show",
)
LOGS = ("metrics.jsonl", "timing.jsonl")


def adopt(config: ConfigDict, workdir: Path) -> Path | None:
    """Copies a twin's training into the folder of a run that has yet to begin; gives the twin.

    None, and nothing is copied: where there is no twin that has ended, the folder is not in a
    sweep, or the run has begun by itself.
    """
    twin = None if groups.begun(workdir) else ended_twin(config, workdir)
    if twin:
        partial = workdir / "checkpoints.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(twin / "checkpoints", partial)
        shutil.copytree(twin / "vocabulary", workdir / "vocabulary", dirs_exist_ok=True)
        for name in LOGS:
            shutil.copy(twin / name, workdir / name)
        partial.rename(workdir / "checkpoints")  # last, at once: now the run has begun
    return twin


def ended_twin(config: ConfigDict, workdir: Path) -> Path | None:
    """The folder of a run of the same sweep that trained as this one does, and has ended."""
    workdir = workdir.resolve()
    sweep = workdir.parent.parent
    if not (sweep / "sweep.json").exists():
        return None
    wanted = training(config)
    for done in sorted(sweep.glob(f"*/{workdir.name}/DONE")):
        with contextlib.suppress(InputError):  # an ensemble, or a folder of another version
            if training(configs.read(done.with_name("config.json"))) == wanted:
                return done.parent
    return None


def training(config: ConfigDict) -> dict[str, Any]:
    """What a training hangs on: equal for twins."""
    return of_training(configs.flatten(config))


def of_training(values: Mapping[str, Any]) -> dict[str, Any]:
    """`training`, from dotted keys. Where validation searches with a beam, as it chooses the best
    step then, that is how it searches, too."""
    modes = values.get("evaluation.modes")
    unused = () if isinstance(modes, list | tuple) and "beam" in modes else TESTED
    return {
        key: value
        for key, value in values.items()
        if key not in unused and not key.startswith("sweep.")
    }
