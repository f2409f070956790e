"""Runs that translate as one model, and the folder that makes them a row of a sweep's report."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.data import Data, with_test
from seq2seq_jax.decoding.translate import Translator
from seq2seq_jax.evaluation.assembly import load_again, show, summary, write_evaluation
from seq2seq_jax.evaluation.environment import write_environment
from seq2seq_jax.evaluation.evaluator import Evaluation, score_searches, searches_of
from seq2seq_jax.evaluation.metrics import SUFFIXES, TEXT_COUNTS
from seq2seq_jax.evaluation.run import Run, Translates, load_run, search_of
from seq2seq_jax.files import write_json, write_lines
from seq2seq_jax.types import InputError

# Keys of the config's part `data` that say how pairs are fed, and not which pairs there are.
FEEDING = ("batch_size", "buckets", "order", "workers", "prefetch")


class Ensemble(Translates):
    """Runs whose predictions are averaged at each step (Sutskever et al. 2014, section 3.4).

    Their models may differ in everything but the vocabularies.
    """

    def __init__(self, runs: Sequence[Run], evaluation: Mapping[str, Any] = MappingProxyType({})):
        """How to search is what the first one's config says, with the values of `evaluation` for
        keys of its part of this name.

        Raises InputError for runs with other vocabularies than the first, and for a search that
        they cannot make.
        """
        first, *others = runs
        for run in others:
            for side in ("source", "target"):
                if getattr(run, side) != getattr(first, side):
                    raise InputError(
                        f"{run.workdir} has another {side} vocabulary than {first.workdir}: only "
                        "runs on the same data and text options can be averaged"
                    )
        self.runs, self.config = list(runs), joint([run.config for run in runs], evaluation)
        graphdefs, params = zip(*((run._graphdef, run._params) for run in runs), strict=True)
        translator = Translator(graphdefs, first.source, first.target, self.config.evaluation)
        super().__init__(translator, list(params))

    @property
    def attends(self) -> bool:
        return any(run.attends for run in self.runs)

    def evaluate(
        self, split: str = "test", modes: Sequence[str] = ("greedy",), files: str = ""
    ) -> dict[str, float]:
        """Metrics of translations of a split of the first run's data, or of the pairs of `files`,
        named as in `data.test`; nothing is written."""
        return self.evaluation(split, modes, files)["metrics"]

    def evaluation(
        self, split: str = "test", modes: Sequence[str] = ("greedy",), files: str = ""
    ) -> dict[str, Any]:
        """As `evaluate`, with intervals and scores by length."""
        split = "test" if files else split
        return summary(*self._scored(split, modes, files), split)

    def save(self, folder: str | Path, modes: Sequence[str] = ("greedy",)) -> dict[str, Any]:
        """Tests the ensemble and writes into `folder`, SWEEP/NAME/seed<k>, what a report reads.

        The answer is the content of predictions/test.json. What the ensemble is made of stands in
        ensemble.json; saved again with another mode, the folder has the scores of both. Raises
        InputError for a folder of another form or that holds something else, and for runs that have
        not ended, are there twice, or have other data than the first.
        """
        folder = Path(folder)
        seconds = sum(_seconds(run.workdir) for run in self.runs)
        _same_data(self.runs)
        made_of = self._made_of(folder)
        _free(folder, made_of)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "ensemble.json", made_of)
        write_environment(folder)
        found, data = self._scored("test", modes)
        facts = write_evaluation(folder, found, data, "test", 0, modes)  # it has no step of its own
        show(folder, self._translator, self._parts, self.config.evaluation.show)
        path = folder / "metrics.jsonl"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        tested = {f"test/{name}": value for name, value in facts["metrics"].items()}
        write_lines(path, [{"step": 0} | before | tested])
        done = {
            "step": 0,
            "seconds": round(seconds, 1),
            "parameters": sum(run.parameters for run in self.runs),
            "reason": "ensemble",
        }
        write_json(folder / "DONE", done)
        return facts

    def _scored(self, split: str, modes: Sequence[str], files: str = "") -> tuple[Evaluation, Data]:
        if wrong := [mode for mode in modes if mode not in SUFFIXES]:
            raise InputError(f"an ensemble has the modes {' and '.join(SUFFIXES)}, not {wrong[0]}")
        data = load_again(self.config, self.runs[0].workdir)
        if files:
            data = with_test(data, files, self.config.data)
        evaluation = self.config.evaluation
        found = score_searches(
            self._translator,
            self._parts,
            data,
            split,
            searches_of(evaluation, modes),
            counts=tuple(TEXT_COUNTS),
            replaces=evaluation.replace_unknown,
        )
        return found, data

    def _made_of(self, folder: Path) -> dict[str, Any]:
        """The content of ensemble.json; runs are named as they are seen from the sweep's folder."""
        sweep = folder.resolve().parent.parent
        made_of = {
            "members": [
                Path(os.path.relpath(run.workdir.resolve(), sweep)).as_posix() for run in self.runs
            ],
            "steps": [run.step for run in self.runs],
            "average": [run.average for run in self.runs],
            "evaluation": search_of(self.config),
        }
        return json.loads(json.dumps(made_of))  # as it comes back from the file


def load_ensemble(
    workdirs: Sequence[str | Path],
    average: int = 1,
    evaluation: Mapping[str, Any] = MappingProxyType({}),
) -> Ensemble:
    """The runs in these folders as one model: `average` as in `Run`, `evaluation` in `Ensemble`."""
    return Ensemble([load_run(workdir, average) for workdir in workdirs], evaluation)


def joint(members: Sequence[ConfigDict], evaluation: Mapping[str, Any]) -> ConfigDict:
    """The first member's config, with these values in its part `evaluation`.

    What needs alignments is allowed where one of the members attends. Raises InputError.
    """
    config = members[0].copy_and_resolve_references()
    config.evaluation.update(evaluation)
    attending = [member for member in members if member.model.attention.score != "none"]
    judged = (attending or members)[0].copy_and_resolve_references()
    judged.evaluation = config.evaluation
    configs.validate(judged)
    return config


def _seconds(workdir: Path) -> float:
    """How long a run trained. Raises InputError where it has not ended."""
    try:
        return json.loads((workdir / "DONE").read_text(encoding="utf-8"))["seconds"]
    except FileNotFoundError:
        raise InputError(
            f"{workdir} has not ended: it has no DONE; train it to its end, then save the ensemble"
        ) from None


def _same_data(runs: Sequence[Run]) -> None:
    """Raises InputError for a run that is there twice, or whose pairs are not those of the first:
    it may have trained on what the first one's data test."""
    first = configs.flatten(runs[0].config.data)
    for i, run in enumerate(runs):
        if run.workdir.resolve() in [other.workdir.resolve() for other in runs[:i]]:
            raise InputError(f"{run.workdir} stands twice in the ensemble; name each run once")
        own = configs.flatten(run.config.data)
        changed = [key for key in own if own[key] != first[key] and key not in FEEDING]
        if changed:
            keys = ", ".join(
                f"data.{key} is {own[key]!r} and not {first[key]!r}" for key in changed
            )
            raise InputError(
                f"{run.workdir} has other data than {runs[0].workdir}: {keys}; only runs on the "
                "same pairs can be a row of a table"
            )


def _free(folder: Path, made_of: dict[str, Any]) -> None:
    """Raises InputError where `folder` cannot hold this ensemble."""
    if not re.fullmatch(r"seed\d+", folder.name):
        raise InputError(
            f"{folder}: expected SWEEP/NAME/seed<k>, as runs/g2p/ensemble/seed0: that is where "
            "reports look"
        )
    if taken := sorted(folder.parent.glob("seed*/config.json")):
        raise InputError(
            f"{folder.parent} is a cell of trained runs ({taken[0].parent.name}); give the "
            "ensemble another name"
        )
    if not (folder / "ensemble.json").exists():
        return
    here = configs.flatten(made_of)
    text = (folder / "ensemble.json").read_text(encoding="utf-8")
    there = dict.fromkeys(here) | configs.flatten(json.loads(text))
    if changed := [
        f"{key} was {there[key]} and is {here[key]}" for key in here if there[key] != here[key]
    ]:
        raise InputError(
            f"{folder} holds another ensemble; save to another name or seed<k>, or remove it:\n  "
            + "\n  ".join(changed)
        )
