"""How one run, or several at once, lie on the devices.

Several runs that differ in traced numbers alone are one program: the step over states, numbers and
keys with a first axis R, a lane for each member. Lanes never meet, so what a member computes
depends on how many lanes there are only by the rounding of other kernels, and not at all on what is
in the other lanes. A member that has ended leaves a lane that is ignored, and where a device takes
its lanes one after another, passed over.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seq2seq_jax.training.mesh import (
    data_mesh,
    devices_that_exchange,
    in_turn,
    line,
    on_each,
    replicated,
    shared_out,
)
from seq2seq_jax.types import Batch

AXIS = "members"  # name of the vmap over lanes


class Alone:
    """One run: trees as they are; each device has a share of the rows of a batch."""

    def __init__(self, batch_size: int):
        mesh = data_mesh(batch_size, devices_that_exchange())
        self.sharding, self._rows = replicated(mesh), shared_out(mesh)
        self.shards = mesh.size  # of a batch's rows

    def step(self, make_step: Callable[..., Callable]) -> Callable:
        """The update, of what `make_train_step` makes with the options that it is given."""
        inputs = self.sharding, self._rows, self.sharding, self.sharding
        return on_each(make_step(shards=self.shards), inputs, self.sharding)

    def place(self, trees: Sequence[Any]) -> Any:
        (tree,) = trees
        return jax.device_put(tree, self.sharding, may_alias=False)

    def place_batch(self, batch: Batch) -> Batch:
        return jax.device_put(batch, self._rows)

    def lanes(self, tree: Any) -> list[Any]:
        """The tree; from several devices on the host, so that one of them may evaluate it."""
        return [jax.device_get(tree) if self.shards > 1 else tree]


class Together:
    """R runs, their trees stacked; each device has a share of the lanes.

    As many of the devices take part as can have equal shares. A device takes its lanes all at
    once, under `vmap`, or `in_turn`. `shared`: all members see the same batch, which then has no
    axis R.
    """

    def __init__(self, members: int, shared: bool, devices: Sequence[jax.Device]):
        count = max(n for n in range(1, len(devices) + 1) if members % n == 0)
        self._members, self._shared = members, shared
        mesh = line(devices[:count], "lanes")
        self.sharding = shared_out(mesh)
        self.shards = 1  # each device has all rows of its members' batches
        self._batch = replicated(mesh) if shared else self.sharding

    def step(self, make_step: Callable[..., Callable]) -> Callable:
        one_by_one = in_turn()
        train_step = make_step(rests=True) if one_by_one else make_step(axis=AXIS)

        def stacked(state, batch, hyper, key, *, forced):
            def one(state, hyper, key, batch=batch):
                return train_step(state, batch, hyper, key, forced=forced)

            lanes = (state, hyper, key) if self._shared else (state, hyper, key, batch)
            if one_by_one:
                return jax.lax.map(lambda lane: one(*lane), lanes)
            return jax.vmap(one, axis_name=AXIS)(*lanes)

        inputs = self.sharding, self._batch, self.sharding, self.sharding
        return on_each(stacked, inputs, self.sharding)

    def place(self, trees: Sequence[Any]) -> Any:
        """One tree a member, stacked."""
        return jax.device_put(jax.tree.map(_stack, *trees), self.sharding, may_alias=False)

    def place_batch(self, batch: Batch) -> Batch:
        return jax.device_put(batch, self._batch)

    def lanes(self, tree: Any) -> list[Any]:
        """The members' parts of a stacked tree, on the host: one transfer, no program to slice."""
        host = jax.device_get(tree)
        return [jax.tree.map(lambda x, r=r: x[r], host) for r in range(self._members)]


def _stack(*leaves):
    if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
        return jnp.stack(leaves)
    return np.stack(jax.device_get(leaves))
