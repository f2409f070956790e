"""Does it pay to train several runs as one program? Times an update of one and of all."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from seq2seq_jax.benchmarking.measured_step import MeasuredStep
from seq2seq_jax.benchmarking.training import shape_of
from seq2seq_jax.config_signature import read_together
from seq2seq_jax.data.batching import Batches, StackedBatches
from seq2seq_jax.evaluation.assembly import Assembly, order_seed
from seq2seq_jax.training.loop import total_steps
from seq2seq_jax.training.member import Lane
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.population import Alone, Together
from seq2seq_jax.training.step import make_hyper, make_train_step
from seq2seq_jax.training.teacher_forcing import ratio_at
from seq2seq_jax.types import Batch

ROUNDS = 5  # updates that are timed, of one run and of all in turn


def measure_population(folders: Sequence[Path]) -> dict[str, Any]:
    """What the runs whose config.json these folders hold take, together and one after another.

    Both steps are compiled for one batch shape, the one that an epoch spends most positions on, and
    timed in turn on the runs' own batches; the median counts. Totals are for all updates of all
    runs, in proportion to the positions of an epoch's batches, without compilation, evaluations
    and checkpoints.

    The answer is JSON: `members`, `updates` of each, `compilations` of the step in one program;
    `alone` (one run) and `together`, each with `seconds` an update, `total_seconds` for all runs,
    `bytes` of states and temporary memory.
    """
    own = read_together(folders)
    parts = Assembly(own[0], folders)
    batches = [parts.batches.with_seed(order_seed(config)) for config in own]
    one_order = len({each.seed for each in batches}) == 1
    seen = batches[0] if one_order else StackedBatches(batches)
    chosen, share = _typical(batches[0])
    lanes = [Lane(config, jax.device_get(parts.params(config.seed))) for config in own]
    # Which path the first update takes, and which one the last of a long run.
    first, last = (
        all(ratio_at(config.teacher_forcing, n) >= 1 for config in own) for n in (0, 1 << 30)
    )
    arms = [
        _Arm(lanes[:1], parts.graphdef, Alone(own[0].data.batch_size), last),
        _Arm(lanes, parts.graphdef, Together(len(own), one_order), last),
    ]
    sources = [batches[0], seen]
    for arm, source in zip(arms, sources, strict=True):
        arm.update(source[chosen[0]])  # compiles
    seconds = [[], []]
    for i in (chosen * ROUNDS)[:ROUNDS]:
        for arm, source, times in zip(arms, sources, seconds, strict=True):
            batch = source[i]
            start = time.perf_counter()
            arm.update(batch)
            times.append(time.perf_counter() - start)
    updates = total_steps(own[0].train, parts.batches.per_epoch)
    answer: dict[str, Any] = {
        "members": len(own),
        "updates": updates,
        "compilations": len(_shapes(batches[0])) * (1 + (first != last)),
    }
    for name, arm, times, runs in zip(
        ("alone", "together"), arms, seconds, (len(own), 1), strict=True
    ):
        median = float(np.median(times))
        answer[name] = {
            "seconds": median,
            "total_seconds": median * share * updates * runs,
            "bytes": arm.bytes(sources[name == "together"][chosen[0]]),
        }
    return answer


class _Arm:
    """A compiled step and what it is called with."""

    def __init__(self, lanes: Sequence[Lane], graphdef, layout, forced: bool):
        config: ConfigDict = lanes[0].config
        step = make_train_step(
            config, graphdef, make_optimizer(config.train), layout.shards, layout.axis
        )
        self._step = MeasuredStep(layout.step(step), layout.sharding)
        self._place = layout.place_batch
        self._state = layout.place([lane.state for lane in lanes])
        self._hyper = layout.place(
            [
                make_hyper(c, c.train.learning_rate, ratio_at(c.teacher_forcing, 0))
                for c in (lane.config for lane in lanes)
            ]
        )
        self._key = layout.place([lane.key for lane in lanes])
        self._forced = forced

    def update(self, batch: Batch) -> None:
        arguments = self._place(batch), self._hyper, self._key
        self._state = self._step(self._state, *arguments, forced=self._forced)
        jax.block_until_ready(self._state)

    def bytes(self, batch: Batch) -> int:
        """Of the state and of what the compiled update needs beside it."""
        arguments = self._state, self._place(batch), self._hyper, self._key
        temporary = self._step.temporary_bytes(*arguments, forced=self._forced)
        return temporary + sum(leaf.nbytes for leaf in jax.tree.leaves(self._state))


def _shapes(batches: Batches) -> Counter:
    """How many batches of an epoch have each shape."""
    return Counter(shape_of(batches[i]) for i in range(batches.per_epoch))


def _typical(batches: Batches) -> tuple[list[int], float]:
    """The batches of the shape that an epoch spends most positions on, by number; and how many
    positions a batch of the epoch has on average, as a share of theirs."""
    counts = _shapes(batches)
    shape = max(counts, key=lambda s: counts[s] * sum(s))
    chosen = [i for i in range(batches.per_epoch) if shape_of(batches[i]) == shape]
    mean = sum(n * sum(s) for s, n in counts.items()) / counts.total()
    return chosen, mean / sum(shape)
