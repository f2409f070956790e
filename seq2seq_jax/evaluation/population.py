"""Several runs trained as one program, each in its own folder."""

from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from seq2seq_jax.evaluation.assembly import (
    Assembly,
    begin,
    finish,
    order_seed,
    validation,
)
from seq2seq_jax.evaluation.evaluator import Evaluator
from seq2seq_jax.files import write_text
from seq2seq_jax.training import groups, loop
from seq2seq_jax.training.member import Lane, Member, TrainingError
from seq2seq_jax.types import InputError

KEEP = 2  # checkpoints of each member at least: after a kill some are a step ahead of the others


def train_population(workdirs: Sequence[str | Path]) -> dict[Path, str]:
    """Trains the runs whose config.json these folders hold as one program, to their test scores.

    Called again with the same folders in the same order it goes on where it was stopped, and ends
    with the same bits. Runs that have ended only keep their lanes. A run whose loss is not finite
    is lost: it ends with FAILED in its folder, and the reason is in the answer. The others go on,
    as they do without a run whose folder was emptied.

    Raises InputError where the runs differ in more than numbers that the step takes as arguments,
    or one of them began otherwise, and for all bad input.
    """
    folders = [Path(workdir) for workdir in workdirs]
    own = groups.configs_of(folders)
    groups.form(folders)
    left = [folder for folder in folders if not (folder / "DONE").exists()]
    # A lost run would be lost again at the same update: it is tried when all others have ended,
    # and one that begins anew by itself, as it would take the others back to its start.
    reasons = {folder: groups.lost(folder) for folder in left}
    live = (
        [folder for folder in left if not reasons[folder]]
        or [folder for folder in left if reasons[folder] == groups.EMPTIED]
        or left
    )
    if not live:
        return {}
    failed = {folder: reasons[folder] for folder in left if folder not in live}
    for folder, reason in failed.items():
        _write_failed(folder, reason)
    configs = {
        folder: config for folder, config in zip(folders, own, strict=True) if folder in live
    }
    for folder, config in configs.items():
        begin(config, folder)
    parts = Assembly(own[0], folders)
    for folder, config in configs.items():
        try:
            parts.check(config)
        except InputError as error:
            raise InputError(f"{folder}: {error}") from None
    print(f"{parts.summary()}\n{len(folders)} runs in one program", flush=True)
    evaluators = dict(zip(folders, evaluators_of(parts, own), strict=True))
    lanes = [
        _lane(folder, config, parts, evaluators[folder] if folder in live else None)
        for folder, config in zip(folders, own, strict=True)
    ]
    batches = [parts.batches.with_seed(order_seed(config)) for config in own]
    for member, end in loop.train_together(lanes, parts.graphdef, batches):
        folder = member.workdir
        try:
            if isinstance(end, TrainingError):
                raise end
            finish(member.config, folder, evaluators[folder], parts.like, end)
        except InputError as error:
            groups.lose(folder, str(error))
            failed[folder] = str(error)
            _write_failed(folder, str(error))
    return failed


def _write_failed(folder: Path, reason: str) -> None:
    write_text(folder / "FAILED", f"error: {reason}\n")


def evaluators_of(parts: Assembly, own: Sequence[ConfigDict]) -> list[Evaluator]:
    """One for each run, all with the same programs."""
    temperatures = [config.model.attention.temperature for config in own]
    if len(set(temperatures)) == 1:
        return [parts.evaluator] * len(own)
    return [parts.evaluator.at(temperature) for temperature in temperatures]


def _lane(folder: Path, config: ConfigDict, parts: Assembly, evaluator: Evaluator | None) -> Lane:
    # On the host: there are many, and the devices get them as one stack.
    params = jax.device_get(parts.params(config.seed))
    if evaluator is None:
        return Lane(config, params)
    keep = max(config.train.keep_checkpoints, KEEP)
    return Member(config, folder, params, validation(config, evaluator), keep=keep)
