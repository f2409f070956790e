"""The training step of one run, or of several in one program, as something to time and to weigh."""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from seq2seq_jax.benchmarking.measured_step import MeasuredStep, hyper_at, is_forced
from seq2seq_jax.benchmarking.products import Products
from seq2seq_jax.models.seq2seq import initializer
from seq2seq_jax.rng import named
from seq2seq_jax.training.losses import loss_blocks
from seq2seq_jax.training.member import Lane
from seq2seq_jax.training.mesh import devices_for_runs
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.population import Alone, Together
from seq2seq_jax.training.step import make_train_step
from seq2seq_jax.types import EOS, Batch


class Members:
    """A compiled `step` and what it is called with, its `state` among that.

    One run trains as always, several in one program: on one batch for all where it is `shared`,
    else on stacked ones. Its path and its numbers are those of update `step`.
    """

    def __init__(self, lanes: Sequence[Lane], graphdef, *, shared: bool = False, step: int = 0):
        configs = [lane.config for lane in lanes]
        first, alone = configs[0], len(lanes) == 1
        devices = devices_for_runs(lanes[0].state.params)
        layout = Alone(first.data.batch_size) if alone else Together(len(lanes), shared, devices)
        make_step = partial(make_train_step, first, graphdef, make_optimizer(first.train))
        self.step = MeasuredStep(layout.step(make_step), layout.sharding)
        self.place, self.shards = layout.place_batch, layout.shards
        self.parts = first.train.accumulation
        (self.vocabulary,) = lanes[0].state.params["decoder"]["output_bias"].shape
        self.state = layout.place([lane.state for lane in lanes])
        self._rest = (
            layout.place([hyper_at(config, step) for config in configs]),
            layout.place([lane.key for lane in lanes]),
        )
        self._forced = all(is_forced(config, step) for config in configs)

    def update(self, batch: Batch) -> None:
        """One update, dispatched, on a batch that `place` has put onto the devices."""
        self.state = self.step(self.state, batch, *self._rest, forced=self._forced)

    def seconds(self, batches: Iterable[Batch]) -> float:
        """What an update on each takes, from the first one to the end of the last."""
        start = time.perf_counter()
        for batch in batches:
            self.update(self.place(batch))
        jax.block_until_ready(self.state)
        return time.perf_counter() - start

    def ahead(self, batches: Iterable[Batch]) -> None:
        """Compiles for batches of such shapes in other threads."""
        placed = map(self.place, batches)
        self.step.ahead(self.state, placed, *self._rest, forced=self._forced)

    def temporary_bytes(self, batch: Batch) -> int:
        """What the compiled update needs beside its inputs and outputs, on all devices."""
        arguments = self.state, self.place(batch), *self._rest
        return self._devices() * self.step.temporary_bytes(*arguments, forced=self._forced)

    def state_bytes(self) -> int:
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.state))

    def products(self, batch: Batch, blocks: int | None = None) -> Products:
        """The matrix products of an update, on all devices, whose loss goes through so many blocks
        of tokens: as many as a batch without padding has, or one for each lane, if None."""
        if blocks is None:
            full_BT = np.full(batch.target_BT.shape[-2:], EOS)
            blocks, _ = self.loss_blocks(full_BT)
        arguments = self.state, self.place(batch), *self._rest
        each = blocks / (self.shards * self.parts)
        own = self.step.products(*arguments, forced=self._forced, blocks=each)
        return {product: self._devices() * count for product, count in own.items()}

    def loss_blocks(self, target_BT: Int[np.ndarray, "B T"]) -> tuple[int, int]:
        """(blocks, target positions in them) of the losses of an update: each device has one for
        each of its micro-batches."""
        rows, positions = target_BT.shape
        micro = target_BT.reshape(self.shards, -1, self.parts, positions).swapaxes(1, 2)
        loops = self.shards * self.parts
        return loss_blocks(micro.reshape(rows, positions), self.vocabulary, loops)

    def _devices(self) -> int:
        return len(self.state.step.sharding.device_set)


def make_lanes(configs: Sequence[ConfigDict], sizes: Sequence[int]) -> tuple[Any, list[Lane]]:
    """(graphdef, lanes) of runs that differ in numbers, for vocabularies of these sizes."""
    graphdef, draw = initializer(configs[0].model, *sizes)
    keys = [named(jax.random.key(config.seed), "model") for config in configs]
    # On the host: what a state on several devices is made of would be donated with it.
    params = [jax.device_get(draw(key)) for key in keys]
    return graphdef, [Lane(*both) for both in zip(configs, params, strict=True)]
