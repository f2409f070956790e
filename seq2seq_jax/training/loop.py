"""The training loop: steps, logs, evaluations, checkpoints, and going on after a stop.

The step itself is make_train_step's; nothing here depends on the model. One run or several go
through the same loop: population.py says how they lie on the devices, member.py what each writes.
"""

import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from seq2seq_jax.data.batching import Batches, StackedBatches, make_iterator
from seq2seq_jax.training.checkpoints import explained_disk_errors
from seq2seq_jax.training.compiled import CompiledStep
from seq2seq_jax.training.interrupts import Interrupted, Interrupts
from seq2seq_jax.training.logs import make_progress
from seq2seq_jax.training.member import Evaluate, Lane, Member, Numbers, TrainingError
from seq2seq_jax.training.mesh import devices_for_runs
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.population import Alone, Together
from seq2seq_jax.training.selection import Selection
from seq2seq_jax.training.step import (
    Params,
    TrainState,
    empty_window,
    make_hyper,
    make_train_step,
)


class Result(NamedTuple):
    """How a run ended. `seconds` counts all its processes, the other numbers this one's."""

    step: int
    best_step: int
    best: float
    seconds: float
    reason: str  # finished | early stopping
    compilations: int
    compile_seconds: float


End = tuple[Member, Result | TrainingError]


def total_steps(train: ml_collections.ConfigDict, per_epoch: int) -> int:
    """Updates of the run: `steps`, or `epochs` passes of `per_epoch` batches, rounded up."""
    # 1.1 * 50 is 55.00000000000001.
    return train.steps or math.ceil(round(train.epochs * per_epoch, 6))


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
    graphdef, params = model
    member = Member(config, workdir, params, evaluate, keep=config.train.keep_checkpoints)
    ((_, end),) = _run([member], graphdef, batches, Alone(config.data.batch_size))
    if isinstance(end, TrainingError):
        raise end
    return end


def train_together(
    lanes: Sequence[Lane], graphdef: Any, batches: Sequence[Batches]
) -> Iterator[End]:
    """Trains several runs as one program; gives each member when it ends, and how it ended.

    The configs have one signature (seq2seq_jax.config_signature); `batches` are theirs, one by
    one. A lane that is no Member belongs to a run that has ended: it is there because what the
    others compute may depend, by rounding, on how many lanes there are. All members go on from the
    last step that each has a checkpoint of: they save one after another, so that after a kill some
    are ahead by one. Each therefore has to keep two at least. A member whose loss is not finite
    ends with a TrainingError; the others go on.

    Raises what `train` raises, but for that error.
    """
    one_order = len({own.seed for own in batches}) == 1
    seen = batches[0] if one_order else StackedBatches(batches)
    layout = Together(len(lanes), one_order, devices_for_runs(lanes[0].state.params))
    return _run(lanes, graphdef, seen, layout)


def _run(lanes, graphdef, batches, layout) -> Iterator[End]:
    members = [lane for lane in lanes if isinstance(lane, Member)]
    if not members:
        return
    with explained_disk_errors(members[0].workdir), Interrupts() as interrupts:
        trainer = _Trainer(lanes, members, graphdef, batches, layout, interrupts)
        try:
            yield from trainer.run()
        finally:
            trainer.close()


class _Trainer:
    """One process's part of a run, or of several."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        members: Sequence[Member],
        graphdef,
        batches: Batches | StackedBatches,
        layout: Alone | Together,
        interrupts: Interrupts,
    ):
        config = self._config = lanes[0].config  # of what is the same for all
        self._lanes, self._members, self._layout = lanes, members, layout
        self._interrupts = interrupts
        # The members that go on, by their lanes.
        self._live = {i: lane for i, lane in enumerate(lanes) if isinstance(lane, Member)}
        self._total = total_steps(config.train, batches.per_epoch)
        make_step = partial(make_train_step, config, graphdef, make_optimizer(config.train))
        self._step_fn = CompiledStep(layout.step(make_step), layout.sharding)
        self._blanks = batches.blanks()
        self._hyper = lru_cache(maxsize=4)(self._make_hyper)

        self._step = _last_common_step(members)
        first = members[0]
        self._iterator = make_iterator(batches, config.data.workers, config.data.prefetch)
        if first.data:
            self._iterator.set_state(first.data)
        several = isinstance(layout, Together)
        self._whole = make_progress(self._total, self._step) if several else None
        self._state = layout.place([lane.open(self._total, to_a_file=several) for lane in lanes])
        if len(members) < len(lanes):
            self._rest()
        self._key = layout.place([lane.key for lane in lanes])
        self._window_start, self._window_examples = time.perf_counter(), 0
        self._started = time.perf_counter() - first.seconds

    def run(self) -> Iterator[End]:
        every = self._config.train
        yield from self._ended()
        while self._live:
            self._update()
            last = self._step == self._total
            if last or self._step % every.log_every == 0:
                self._log()
            if last or self._step % every.eval_every == 0:
                self._evaluate_and_save()
            yield from self._ended()
            if self._interrupts.received and self._live:
                yield from self._stop()

    def close(self) -> None:
        self._iterator.close()
        self._step_fn.close()
        if self._whole:
            self._whole.close()
        for member in self._members:
            member.close()

    def _update(self) -> None:
        """One update, dispatched: the device may still be at work on it afterwards."""
        batch = next(self._iterator)
        # Of all lanes, whether their runs have ended or not: what is computed must not hang on it.
        self._numbers = tuple(lane.numbers(self._step) for lane in self._lanes)
        forced = all(numbers.ratio >= 1 for numbers in self._numbers)
        self._window_examples += int((batch.index_B >= 0).sum(axis=-1).max())
        compiling = self._step_fn.seconds
        rest = self._hyper(self._numbers), self._key
        self._state = self._step_fn(
            self._state, self._layout.place_batch(batch), *rest, forced=forced
        )
        if self._blanks:  # the first update is done: now for the other shapes
            blanks = map(self._layout.place_batch, self._blanks)
            self._step_fn.ahead(self._state, blanks, *rest, forced=forced)
            self._blanks = []
        # Throughput leaves out compilation, as it does evaluation.
        self._window_start += self._step_fn.seconds - compiling
        self._step += 1
        if self._whole:
            self._whole.advance(self._step)
        for member in self._live.values():
            member.logs.advance(self._step)

    def _log(self) -> None:
        """Writes the sums since the last line, and begins new ones."""
        lanes = self._layout.lanes((self._state.window, self._state.bad_step))
        lanes = jax.device_get(lanes)
        window = self._layout.place([empty_window()] * len(self._lanes))
        self._state = self._state._replace(window=window)
        seconds = time.perf_counter() - self._window_start
        for i, member in self._live.items():
            sums, bad_step = lanes[i]
            if not member.sound(bad_step):
                continue
            tokens = member.log(self._step, sums, self._numbers[i])
            timing = {
                "seconds": round(self._elapsed(), 3),
                "tokens_per_second": round(tokens / seconds, 1),
                "examples_per_second": round(self._window_examples / seconds, 1),
                "compilations": self._step_fn.compilations,
                "compile_seconds": round(self._step_fn.seconds, 3),
            }
            member.logs.timing(self._step, timing)
        if self._whole:
            self._whole.show({})
        self._window_start, self._window_examples = time.perf_counter(), 0

    def _evaluate_and_save(self) -> None:
        start = time.perf_counter()
        for member, state in self._sound():
            member.evaluate(self._step, state)
            if not member.error:
                self._save(member, state, planned=True)
        self._window_start += time.perf_counter() - start

    def _sound(self) -> list[tuple[Member, TrainState]]:
        """The members that go on, with their states."""
        states = self._layout.lanes(self._state)
        pairs = [(member, states[i]) for i, member in self._live.items()]
        return [(member, state) for member, state in pairs if member.sound(state.bad_step)]

    def _save(self, member: Member, state: TrainState, *, planned: bool) -> None:
        data = self._iterator.get_state()
        member.save(self._step, state, data, self._elapsed(), planned=planned)

    def _ended(self) -> Iterator[End]:
        """Lets those members go that are at their end; after a signal no more than one."""
        start = time.perf_counter()
        ended = {
            i: member
            for i, member in self._live.items()
            if member.error or member.selection.finished or self._step == self._total
        }
        self._live = {i: member for i, member in self._live.items() if i not in ended}
        if ended and self._live:
            self._rest()
        compiled, seconds = self._step_fn.compilations, self._step_fn.seconds
        if ended and compiled and not self._live:
            self._say(f"the step was compiled {compiled} times, in {seconds:.1f} s")
        for given, member in enumerate(ended.values(), start=1):
            member.close()
            yield member, member.error or self._result(member.selection)
            if self._interrupts.received:  # while it was tested: the next test may take as long
                yield from self._stop(at_their_end=len(ended) - given)
        self._window_start += time.perf_counter() - start

    def _rest(self) -> None:
        """Nothing changes the states any more of the runs that have ended."""
        bad_steps = self._layout.lanes(self._state.bad_step)
        bad_steps = [
            own if i in self._live else np.maximum(own, 0) for i, own in enumerate(bad_steps)
        ]
        self._state = self._state._replace(bad_step=self._layout.place(bad_steps))

    def _result(self, selection: Selection) -> Result:
        return Result(
            self._step,
            selection.best_step,
            math.nan if selection.best is None else selection.best,
            self._elapsed(),
            "early stopping" if selection.finished else "finished",
            self._step_fn.compilations,
            self._step_fn.seconds,
        )

    def _stop(self, at_their_end: int = 0) -> Iterator[End]:
        """Saves the members that go on, and raises Interrupted where any run is left to do.

        `at_their_end`: of so many a checkpoint is there, and all that is to do is outside.
        """
        number = self._interrupts.received
        for member, state in self._sound():
            self._save(member, state, planned=False)
        yield from self._ended()
        if self._live or at_their_end:
            self._say(
                f"stopped by {signal.Signals(number).name} after step {self._step} of "
                f"{self._total}; a checkpoint is saved, the same command goes on from it"
            )
            raise Interrupted(number)

    def _make_hyper(self, numbers: tuple[Numbers, ...]):
        pairs = zip(self._lanes, numbers, strict=True)
        return self._layout.place([make_hyper(lane.config, *own) for lane, own in pairs])

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started

    def _say(self, text: str) -> None:
        (self._whole or self._members[0].logs).say(text)


def _last_common_step(members: Sequence[Member]) -> int:
    """Takes all members back to the last step that each has a checkpoint of; 0 is the start."""
    say = cache(_say)  # what they have in common, once
    steps = [member.load(say) for member in members]
    while len(set(steps)) > 1:
        limit = min(steps)
        steps = [
            step if step == limit else member.load(say, limit)
            for member, step in zip(members, steps, strict=True)
        ]
    return steps[0]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
