"""A run: its folder, and what can be done with it. The commands are thin shells over this."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.data import with_test
from seq2seq_jax.decoding.strategies import BeamSearch, Sample
from seq2seq_jax.decoding.translate import Translation, Translator
from seq2seq_jax.evaluation.assembly import (
    Assembly,
    begin,
    evaluate,
    evaluation_shapes,
    finish,
    load_again,
    load_vocabularies,
    same_config,
    validation,
)
from seq2seq_jax.evaluation.evaluator import Evaluator
from seq2seq_jax.models import cudnn
from seq2seq_jax.models.seq2seq import count_parameters, initializer
from seq2seq_jax.training import groups, loop, twins
from seq2seq_jax.training.checkpoints import restore_average, restore_best
from seq2seq_jax.types import InputError


class Translates:
    """What one run and an ensemble share: texts in, translations out.

    `source` and `target` are the vocabularies.
    """

    config: ConfigDict

    def __init__(self, translator: Translator, params: list):
        self.source, self.target = translator.source, translator.target
        self._translator, self._parts = translator, params

    @property
    def attends(self) -> bool:
        """Whether translations come with alignments."""
        return self.config.model.attention.score != "none"

    def translate(
        self, texts: Sequence[str], strategy: BeamSearch | Sample | None = None, first: int = 0
    ) -> list[Translation]:
        """The best translation of each text, in order; an empty text gives an empty one.

        Greedy where no `strategy` is given. `first`: the place of the first text in the whole
        input, by which sampling draws.
        """
        return [best for best, *_ in self.translations(texts, strategy, first)]

    def translations(
        self, texts: Sequence[str], strategy: BeamSearch | Sample | None = None, first: int = 0
    ) -> list[list[Translation]]:
        """All translations that `strategy` hands out: the n best, or as many as were drawn.

        Raises InputError for one text, which would be read as a list of letters.
        """
        if isinstance(texts, str):
            raise InputError(f"texts={texts[:60]!r}: a list of texts is wanted, [{texts[:60]!r}]")
        return self.search([self.source.encode(text) for text in texts], strategy, first)

    def search(
        self,
        sources: Sequence[Sequence[int] | np.ndarray],
        strategy: BeamSearch | Sample | None = None,
        first: int = 0,
    ) -> list[list[Translation]]:
        """As `translations`, of ids that end in EOS."""
        return self._translator.search(self._parts, sources, strategy, first)


class Run(Translates):
    """A trained model and its folder.

    `config`, `parameters` (how many), `step` (of the parameters in use: the best), `average` (over
    how many checkpoints they are the mean), `is_own` (whether this is the best step, searched as
    the run's config says), and `metrics`, a data frame with a row for each line of metrics.jsonl.
    """

    def __init__(
        self,
        workdir: str | Path,
        average: int = 1,
        evaluation: Mapping[str, Any] = MappingProxyType({}),
    ):
        """Reads a run folder. Raises InputError where it is none, or nothing was evaluated yet.

        `average`: above 1 the mean parameters of so many newest checkpoints, but for those that a
        signal asked for, instead of the best ones. `evaluation`: other values for keys of the
        config's part of this name.
        """
        self.workdir, self.average = Path(workdir), average
        self.config = configs.read(self.workdir / "config.json")
        own = search_of(self.config)
        if evaluation:  # what was trained is not judged anew
            self.config.evaluation.update(evaluation)
            configs.validate(self.config)
        self.is_own = average == 1 and search_of(self.config) == own
        source, target = load_vocabularies(self.workdir)
        self._graphdef, draw = initializer(self.config.model, len(source), len(target))
        like = jax.eval_shape(draw, jax.random.key(0))
        folder = self.workdir / "checkpoints"
        if average == 1:
            saved = restore_best(folder, like)
        else:
            part = "ema" if self.config.train.ema_decay else "params"
            saved = restore_average(folder, like, average, part)
        self.step, self.parameters = saved.step, count_parameters(saved.tree)
        self._params = jax.device_put(saved.tree)
        translator = Translator([self._graphdef], source, target, self.config.evaluation)
        super().__init__(translator, [self._params])

    @property
    def metrics(self):
        import pandas

        # pandas.read_json would round the numbers.
        lines = (self.workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return pandas.DataFrame([json.loads(line) for line in lines])

    @property
    def model(self):
        """The trained model, an nnx.Module: `encoder`, `decoder`."""
        return nnx.merge(self._graphdef, self._params)

    def evaluate(
        self,
        split: str = "test",
        modes: Sequence[str] = ("forced", "free", "greedy"),
        files: str = "",
    ) -> dict[str, float]:
        """Metrics of a split of the run's own data, or of the pairs of `files`.

        The files are named as in `data.test`. Where `is_own` and there are none,
        predictions/SPLIT.{json,jsonl} are written, which reports read.
        """
        return self.evaluation(split, modes, files)["metrics"]

    def evaluation(
        self,
        split: str = "test",
        modes: Sequence[str] = ("forced", "free", "greedy"),
        files: str = "",
    ) -> dict[str, Any]:
        """As `evaluate`: also intervals and scores by length, as in predictions/SPLIT.json."""
        data = load_again(self.config, self.workdir)
        if files:
            data, split = with_test(data, files, self.config.data), "test"
        evaluator = Evaluator(
            self.config, self._graphdef, data, evaluation_shapes(self.config, data)
        )
        folder = self.workdir if self.is_own and not files else None
        written = self.workdir / "predictions"
        if folder and not os.access(written if written.is_dir() else folder, os.W_OK):
            print(f"{written} may not be written, and stays as it is", file=sys.stderr)
            folder = None
        return evaluate(folder, evaluator, self._params, self.step, split, modes)


def search_of(config: ConfigDict) -> dict[str, Any]:
    """What the config says of searching, but for how many sentences at a time."""
    return {key: x for key, x in config.evaluation.to_dict().items() if key != "batch_size"}


def load_run(
    workdir: str | Path, average: int = 1, evaluation: Mapping[str, Any] = MappingProxyType({})
) -> Run:
    """The run in `workdir`, with the parameters of its best step; see `Run`."""
    return Run(workdir, average, evaluation)


def train(config: ConfigDict, workdir: str | Path) -> Run:
    """One run from config to test scores; called again, it goes on where it was stopped.

    Raises InputError where the folder holds a run of another config, and for all bad input.
    """
    configs.validate(config)
    workdir = Path(workdir)
    if (workdir / "DONE").exists():
        same_config(config, workdir)
        print(f"{workdir} is done")
        return Run(workdir)
    cudnn.require(config.model)
    groups.leave(workdir)
    begin(config, workdir)
    if twin := twins.adopt(config, workdir):
        print(f"trained as {twin.parent.name}/{twin.name}, which has ended: only the test is new")
    parts = Assembly(config, [workdir])
    parts.check(config)
    print(parts.summary(), flush=True)
    model = parts.graphdef, parts.params(config.seed)
    result = loop.train(config, workdir, model, parts.batches, validation(config, parts.evaluator))
    finish(config, workdir, parts.evaluator, parts.like, result)
    return Run(workdir)
