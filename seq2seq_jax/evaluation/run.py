"""A run: its folder, and what can be done with it. The commands are thin shells over this."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
from flax import nnx
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.data import load_data
from seq2seq_jax.decoding.translate import Translation, Translator
from seq2seq_jax.evaluation.assembly import (
    Assembly,
    begin,
    evaluate,
    finish,
    load_vocabularies,
    same_config,
    shapes_of,
    validation,
)
from seq2seq_jax.evaluation.evaluator import MODES, Evaluator
from seq2seq_jax.models.seq2seq import count_parameters, initializer
from seq2seq_jax.training import groups, loop
from seq2seq_jax.training.checkpoints import restore_best
from seq2seq_jax.training.mesh import data_mesh, replicated


class Run:
    """A trained model and its folder.

    `config`, `parameters` (how many), `step` (of the parameters in use: the best), and `metrics`,
    a data frame with a row for each line of metrics.jsonl.
    """

    def __init__(self, workdir: str | Path):
        """Reads a run folder. Raises InputError where it is none, or nothing was evaluated yet."""
        self.workdir = Path(workdir)
        self.config = configs.read(self.workdir / "config.json")
        self.source, self.target = load_vocabularies(self.workdir)
        graphdef, draw = initializer(self.config.model, len(self.source), len(self.target))
        like = jax.eval_shape(draw, jax.random.key(0))
        saved = restore_best(self.workdir / "checkpoints", like)
        self.step, self.parameters = saved.step, count_parameters(saved.tree)
        self._graphdef, self._params = graphdef, jax.device_put(saved.tree)
        self._translator = Translator(graphdef, self.source, self.target, self.config.evaluation)

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

    def translate(self, texts: Sequence[str]) -> list[Translation]:
        """Greedy translations, in order; an empty text gives an empty translation."""
        sources = [self.source.encode(text) for text in texts]
        return self._translator(self._params, sources)

    def evaluate(self, split: str = "test", modes: Sequence[str] = MODES) -> dict[str, float]:
        """Metrics of a split of the run's own data; writes predictions/SPLIT.{json,jsonl}."""
        data = load_data(self.config.data, (self.source, self.target))
        evaluator = Evaluator(self.config, self._graphdef, data, shapes_of(self.config, data))
        return evaluate(self.workdir, evaluator, self._params, self.step, split, modes)


def load_run(workdir: str | Path) -> Run:
    """The run in `workdir`, with the parameters of its best step."""
    return Run(workdir)


def train(config: ConfigDict, workdir: str | Path) -> Run:
    """One run from config to test scores; called again, it goes on where it was stopped.

    Raises InputError where the folder holds a run of another config, and for all bad input.
    """
    configs.validate(config)
    workdir = Path(workdir)
    if (workdir / "DONE").exists():
        same_config(config, workdir)
        return Run(workdir)
    groups.leave(workdir)
    begin(config, workdir)
    parts = Assembly(config, [workdir])
    print(parts.summary(), flush=True)
    model, validate = (
        (parts.graphdef, parts.params(config.seed)),
        validation(config, parts.evaluator),
    )
    result = loop.train(config, workdir, model, parts.batches, validate)
    sharding = replicated(data_mesh(config.data.batch_size))
    finish(config, workdir, parts.evaluator, parts.like, sharding, result)
    return Run(workdir)
