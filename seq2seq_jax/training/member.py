"""One run's side of a training: its schedules and selection, its logs and checkpoints.

The loop drives one member, or several at once, and their folders look the same.
"""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections

from seq2seq_jax.rng import named
from seq2seq_jax.training.checkpoints import Checkpoints
from seq2seq_jax.training.logs import LOG, Logs
from seq2seq_jax.training.optimizers import learning_rate_at, make_optimizer
from seq2seq_jax.training.selection import Selection
from seq2seq_jax.training.step import Params, TrainState, init_state
from seq2seq_jax.training.teacher_forcing import ratio_at
from seq2seq_jax.types import InputError

Evaluate = Callable[[Params, int], dict[str, float]]


class TrainingError(InputError):
    """A run that cannot go on: its loss is not a number, or its evaluation is refused."""


class Numbers(NamedTuple):
    """What the host decides for one update."""

    learning_rate: float
    ratio: float


class Lane:
    """A run's place in the program: the state that it starts from, its key, its schedules.

    No more than that is needed of a run that has ended, while others that began with it go on.
    """

    def __init__(self, config: ml_collections.ConfigDict, params: Params):
        self.config = config
        self.key = named(jax.random.key(config.seed), "training")
        self.selection = Selection(config.train)
        self.state = init_state(params, make_optimizer(config.train), config.train.ema_decay)

    def open(self, total_steps: int, *, to_a_file: bool) -> TrainState:
        """Makes ready for so many updates; hands over the state, which the loop has from now on."""
        self._learning_rate = learning_rate_at(self.config.train, total_steps)
        state = self.state
        del self.state
        return state

    def numbers(self, step: int) -> Numbers:
        """Of the update that follows `step` others."""
        rate = self._learning_rate(step) * self.selection.rate_scale
        return Numbers(rate, ratio_at(self.config.teacher_forcing, step))


class Member(Lane):
    """A run that trains: between its lane, its logs and its checkpoints, of which it keeps `keep`.

    `step`, `seconds` and `data` are those of the newest checkpoint: updates, time spent on them,
    position in the data (None at the start).
    """

    logs: Logs

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: str | Path,
        params: Params,
        evaluate: Evaluate,
        *,
        keep: int,
    ):
        super().__init__(config, params)
        self.workdir = Path(workdir)
        self.error: TrainingError | None = None
        self.step, self.seconds = 0, 0.0
        self.data: dict[str, Any] | None = None
        self._start, self._evaluate = self.state, evaluate
        self._checkpoints = Checkpoints(self.workdir / "checkpoints", keep)
        self._files = contextlib.ExitStack()
        self._files.callback(self._checkpoints.close)

    def load(self, say: Callable[[str], None], limit: int | None = None) -> int:
        """Takes up the newest whole checkpoint, none above step `limit`; returns its step, or 0."""
        saved = self._checkpoints.restore(self._start, say, limit)
        self.selection = Selection(self.config.train)
        if saved is None:
            self.state, self.step, self.seconds, self.data = self._start, 0, 0.0, None
        else:
            self.selection.restore(saved.host["selection"])
            self.state, self.step, self.data = saved.tree, saved.step, saved.host["data"]
            self.seconds = saved.host["seconds"]
        return self.step

    def open(self, total_steps: int, *, to_a_file: bool) -> TrainState:
        """Opens the logs too; with `to_a_file` progress goes to log.txt in the folder."""
        file = self.workdir / LOG if to_a_file else None
        self.logs = Logs(self.workdir, total_steps, self.step, file)
        self._files.callback(self.logs.close)
        del self._start
        return super().open(total_steps, to_a_file=to_a_file)

    def close(self) -> None:
        self._files.close()

    def sound(self, bad_step: Any) -> bool:
        """Whether all losses so far were finite; `error` says more where they were not."""
        bad = int(bad_step)
        if bad >= 0 and self.error is None:
            self._diverged(f"the loss or the gradient of step {bad + 1}")
        return self.error is None

    def _diverged(self, what: str) -> None:
        kept = f"the checkpoint of step {self.step} is kept"
        kept = kept if self.step else "there is no checkpoint yet"
        self.error = TrainingError(
            f"{what} is not finite (NaN or infinite) in {self.workdir}; training stopped, {kept}."
            f" Try a lower train.learning_rate (now {self.config.train.learning_rate:g}),"
            f" train.clip_norm = 1 (now {self.config.train.clip_norm:g}) or train.warmup_steps"
        )

    def log(self, step: int, window: dict[str, Any], numbers: Numbers) -> float:
        """Writes the line of the sums since the last one; returns how many tokens they cover."""
        sums = {name: float(x) for name, x in window.items()}
        loss = sums["loss"] / max(sums["tokens"], 1.0)
        values = {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "token_accuracy": sums["correct"] / max(sums["tokens"], 1.0),
            "learning_rate": numbers.learning_rate,
            "ratio": numbers.ratio,
            "gold_share": sums["gold"] / sums["coins"] if sums["coins"] else 1.0,
            "gradient_norm": sums["gradient_norm"] / sums["updates"],
            "tokens": sums["tokens"],
        }
        self.logs.metrics(step, {f"train/{name}": x for name, x in values.items()})
        return sums["tokens"]

    def evaluate(self, step: int, state: TrainState) -> None:
        """Scores the parameters and decides what follows from it.

        Bad input that shows here is this run's `error`: others beside it go on.
        """
        params = state.ema or state.params
        try:
            metrics = self._evaluate(params, step)
            self.logs.metrics(step, metrics)
            best = self.selection.update(step, metrics)
        except InputError as error:
            self.error = TrainingError(str(error))
            return
        if best:
            self._checkpoints.save_best(step, params)
        if math.isnan(metrics[self.selection.metric]):
            self._diverged(f"{self.selection.metric} after step {step}")

    def save(
        self, step: int, state: TrainState, data: dict[str, Any], seconds: float, *, planned: bool
    ) -> None:
        """A checkpoint of this very moment, unless there is one; not `planned`: for a signal."""
        if self.step == step:
            return
        self.logs.sync()
        host = {
            "data": data,
            "best_step": self.selection.best_step,
            "selection": self.selection.state(),
            "seconds": seconds,
            "planned": planned,
        }
        self._checkpoints.save(step, state, host)
        self.step = step
