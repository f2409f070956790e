"""The training loop: steps, logs, evaluations, checkpoints, and going on after a stop.

The step itself is make_train_step's; nothing here depends on the model.
"""

import functools
import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections

from seq2seq_jax.data.batching import Batches, make_iterator
from seq2seq_jax.rng import named
from seq2seq_jax.training.checkpoints import Checkpoints, explained_disk_errors
from seq2seq_jax.training.compiled import CompiledStep
from seq2seq_jax.training.interrupts import Interrupted, Interrupts
from seq2seq_jax.training.logs import Logs
from seq2seq_jax.training.mesh import by_rows, data_mesh, replicated
from seq2seq_jax.training.optimizers import learning_rate_at, make_optimizer
from seq2seq_jax.training.selection import Selection
from seq2seq_jax.training.step import Params, empty_window, init_state, make_hyper, make_train_step
from seq2seq_jax.training.teacher_forcing import ratio_at
from seq2seq_jax.types import InputError

Evaluate = Callable[[Params, int], dict[str, float]]


class TrainingError(InputError):
    """A run that cannot go on: its loss is not a number."""


class Result(NamedTuple):
    """How a run ended. `seconds` counts all its processes, the other numbers this one's."""

    step: int
    best_step: int
    best: float
    seconds: float
    reason: str  # finished | early stopping
    compilations: int
    compile_seconds: float


def total_steps(train: ml_collections.ConfigDict, per_epoch: int) -> int:
    """Updates of the run: `steps`, or `epochs` passes of `per_epoch` batches, rounded up."""
    return train.steps or math.ceil(train.epochs * per_epoch)


def train(
    config: ml_collections.ConfigDict,
    workdir: str | Path,
    model: tuple[Any, Params],
    batches: Batches,
    evaluate: Evaluate,
) -> Result:
    """Trains a model, (graphdef, params), to the end, from the checkpoint in `workdir` if any.

    `evaluate(params, step)` gives the metrics of the validation split; it is called every
    `eval_every` updates and after the last one, and a checkpoint follows each time. The result
    depends on the arguments alone: a run that was killed at any moment and started again ends
    with the same bits, in parameters and in metrics.jsonl.

    Raises InputError where the disk is full or the checkpoints are damaged, TrainingError where
    the loss is not finite, Interrupted (a SystemExit) after SIGTERM or SIGINT.
    """
    workdir = Path(workdir)
    with explained_disk_errors(workdir), Interrupts() as interrupts:
        trainer = _Trainer(config, workdir, model, batches, evaluate)
        try:
            return trainer.run(interrupts)
        finally:
            trainer.close()


class _Trainer:
    """One process's part of a run."""

    def __init__(self, config, workdir: Path, model, batches: Batches, evaluate: Evaluate):
        graphdef, params = model
        optimizer = make_optimizer(config.train)
        mesh = data_mesh(config.data.batch_size)
        self._config, self._evaluate, self._workdir = config, evaluate, workdir
        self._place = functools.partial(jax.device_put, device=replicated(mesh), may_alias=False)
        self._place_batch = functools.partial(jax.device_put, device=by_rows(mesh))
        self._total = total_steps(config.train, batches.per_epoch)
        self._learning_rate = learning_rate_at(config.train, self._total)
        self._key = self._place(named(jax.random.key(config.seed), "training"))
        self._step_fn = CompiledStep(make_train_step(config, graphdef, optimizer, mesh.size), mesh)
        self._hyper = functools.lru_cache(maxsize=4)(
            lambda rate, ratio: self._place(make_hyper(config, rate, ratio))
        )

        self._selection = Selection(config.train)
        self._checkpoints = Checkpoints(workdir / "checkpoints", config.train.keep_checkpoints)
        state = init_state(params, optimizer, config.train.ema_decay)
        saved = self._checkpoints.restore(state, _say)
        self._step, self._seconds = 0, 0.0
        if saved:
            state, self._step, self._seconds = saved.tree, saved.step, saved.host["seconds"]
            self._selection.restore(saved.host["selection"])
        self._saved_step = self._step
        self._state = self._place(state)
        self._iterator = make_iterator(batches, config.data.workers, config.data.prefetch)
        if saved:
            self._iterator.set_state(saved.host["data"])
        self._logs = Logs(workdir, self._total, self._step)
        self._window_start, self._window_examples = time.perf_counter(), 0
        self._started = time.perf_counter() - self._seconds

    def run(self, interrupts: Interrupts) -> Result:
        every = self._config.train
        while self._step < self._total and not self._selection.finished:
            self._update()
            self._logs.advance(self._step)
            last = self._step == self._total
            if last or self._step % every.log_every == 0:
                self._log()
            if last or self._step % every.eval_every == 0:
                self._evaluate_and_save()
            if interrupts.received:
                self._stop(interrupts.received)
        selection, step_fn = self._selection, self._step_fn
        if step_fn.compilations:
            self._logs.say(
                f"the step was compiled {step_fn.compilations} times, in {step_fn.seconds:.1f} s"
            )
        return Result(
            self._step,
            selection.best_step,
            math.nan if selection.best is None else selection.best,
            self._elapsed(),
            "early stopping" if selection.finished else "finished",
            step_fn.compilations,
            step_fn.seconds,
        )

    def close(self) -> None:
        self._iterator.close()
        self._logs.close()
        self._checkpoints.close()

    def _update(self) -> None:
        """One update, dispatched: the device may still be at work on it afterwards."""
        config, batch = self._config, next(self._iterator)
        self._rate = self._learning_rate(self._step) * self._selection.rate_scale
        self._ratio = ratio_at(config.teacher_forcing, self._step)
        hyper = self._hyper(self._rate, self._ratio)
        self._window_examples += int((batch.index_B >= 0).sum())
        compiling = self._step_fn.seconds
        self._state = self._step_fn(
            self._state, self._place_batch(batch), hyper, self._key, forced=self._ratio >= 1
        )
        # Throughput leaves out compilation, as it does evaluation.
        self._window_start += self._step_fn.seconds - compiling
        self._step += 1

    def _log(self) -> None:
        """Writes the sums since the last line, and begins new ones."""
        sums = {name: float(x) for name, x in jax.device_get(self._state.window).items()}
        self._check_finite()
        self._state = self._state._replace(window=self._place(empty_window()))
        loss = sums["loss"] / max(sums["tokens"], 1.0)
        values = {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "token_accuracy": sums["correct"] / max(sums["tokens"], 1.0),
            "learning_rate": self._rate,
            "ratio": self._ratio,
            "gold_share": sums["gold"] / sums["coins"] if sums["coins"] else 1.0,
            "gradient_norm": sums["gradient_norm"] / sums["updates"],
            "tokens": sums["tokens"],
        }
        self._logs.metrics(self._step, {f"train/{name}": x for name, x in values.items()})
        seconds = time.perf_counter() - self._window_start
        timing = {
            "seconds": round(self._elapsed(), 3),
            "tokens_per_second": round(sums["tokens"] / seconds, 1),
            "examples_per_second": round(self._window_examples / seconds, 1),
            "compilations": self._step_fn.compilations,
            "compile_seconds": round(self._step_fn.seconds, 3),
        }
        self._logs.timing(self._step, timing)
        self._window_start, self._window_examples = time.perf_counter(), 0

    def _evaluate_and_save(self) -> None:
        start = time.perf_counter()
        self._check_finite()
        params = self._state.ema or self._state.params
        metrics = self._evaluate(params, self._step)
        self._logs.metrics(self._step, metrics)
        if self._selection.update(self._step, metrics):
            self._checkpoints.save_best(self._step, params)
        self._save()
        self._window_start += time.perf_counter() - start

    def _save(self) -> None:
        """A checkpoint of this very moment, unless there is one."""
        if self._saved_step == self._step:
            return
        self._check_finite()
        self._logs.sync()
        host = {
            "data": self._iterator.get_state(),
            "best_step": self._selection.best_step,
            "selection": self._selection.state(),
            "seconds": self._elapsed(),
        }
        self._checkpoints.save(self._step, self._state, host)
        self._saved_step = self._step

    def _stop(self, number: int) -> None:
        self._save()
        self._logs.say(
            f"stopped by {signal.Signals(number).name} after step {self._step} of {self._total}; "
            "a checkpoint is saved, the same command goes on from it"
        )
        raise Interrupted(number)

    def _check_finite(self) -> None:
        bad = int(self._state.bad_step)
        if bad < 0:
            return
        good = self._saved_step
        kept = f"the checkpoint of step {good} is kept" if good else "there is no checkpoint yet"
        raise TrainingError(
            f"the loss or the gradient of step {bad + 1} is not finite (NaN or infinite) in "
            f"{self._workdir}; training stopped, {kept}. Try a lower train.learning_rate (now "
            f"{self._config.train.learning_rate:g}), train.clip_norm = 1 (now "
            f"{self._config.train.clip_norm:g}) or train.warmup_steps"
        )

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
