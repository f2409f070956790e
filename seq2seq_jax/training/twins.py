"""Runs of a sweep that train alike and search otherwise: one training serves all.

How the test is searched (beam, penalties) has no part in a training. So a run whose twin has ended
begins with the twin's checkpoints and logs, at the last update, and only its test is its own. No
JAX here.
"""

import contextlib
import shutil
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
    sweep, the run has begun by itself, or validation searches with a beam too.
    """
    if groups.begun(workdir) or "beam" in config.evaluation.modes:
        return None
    twin = _twin(config, workdir.resolve())
    if twin:
        partial = workdir / "checkpoints.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(twin / "checkpoints", partial)
        shutil.copytree(twin / "vocabulary", workdir / "vocabulary", dirs_exist_ok=True)
        for name in LOGS:
            shutil.copy(twin / name, workdir / name)
        partial.rename(workdir / "checkpoints")  # last, at once: now the run has begun
    return twin


def _twin(config: ConfigDict, workdir: Path) -> Path | None:
    sweep = workdir.parent.parent
    if not (sweep / "sweep.json").exists():
        return None
    wanted = _training(config)
    for done in sorted(sweep.glob(f"*/{workdir.name}/DONE")):
        with contextlib.suppress(InputError):  # an ensemble, or a folder of another version
            if _training(configs.read(done.with_name("config.json"))) == wanted:
                return done.parent
    return None


def _training(config: ConfigDict) -> dict[str, Any]:
    return {
        key: value
        for key, value in configs.flatten(config).items()
        if key not in TESTED and not key.startswith("sweep.")
    }
