"""Who takes part: devices share the rows of a batch, or several runs, or the rows of a search."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seq2seq_jax.models.seq2seq import count_parameters
from seq2seq_jax.rng import ROWS
from seq2seq_jax.types import InputError

# Platforms whose devices share no update. Those of a CPU would wait for each other's gradients in
# the threads that they compute with, which can last for ever where updates are dispatched ahead.
APART = {"cpu"}
# The cores of a CPU are devices that share what needs no exchange, where that pays: a small model
# is a thousand short operations a step, and sharing out each of them among threads takes longer.
CPU_PARAMETERS = 1_000_000
CPU_ROWS = 32


def devices_that_exchange() -> list[jax.Device]:
    """Those that share the rows of an update, and its gradients."""
    devices = jax.local_devices()
    return devices[:1] if jax.default_backend() in APART else devices


def devices_for_runs(params: Any) -> list[jax.Device]:
    """Those that share several runs of this model."""
    on_cpu = jax.default_backend() == "cpu"
    return cores_for(params) if on_cpu else jax.local_devices()


def in_turn() -> bool:
    """Whether a device takes several runs one after another in a program, not all at once.

    A core has no use for more numbers than one small run has, and those of all do not fit its cache
    (benchmarks/README.md). To other devices they are one larger piece of work.
    """
    return jax.default_backend() == "cpu"


def cores_for(params: Any, rows: int | None = None) -> list[jax.Device]:
    """The devices of a CPU that pay for this model; the first one of anything else.

    `rows` that they share equally, CPU_ROWS each at least; None where each has its own work.
    """
    devices = jax.local_devices()
    if jax.default_backend() != "cpu" or count_parameters(params) > CPU_PARAMETERS:
        return devices[:1]
    if rows is None:
        return devices
    counts = range(1, len(devices) + 1)
    pay = [n for n in counts if rows % n == 0 and rows >= n * CPU_ROWS]
    return devices[: max(pay, default=1)]


def data_mesh(batch_size: int, devices: Sequence[jax.Device]) -> Mesh:
    """A mesh of these devices with the one axis ROWS.

    A batch must fall into equal parts: InputError where it does not.
    """
    count = len(devices)
    if batch_size % count:
        lower, upper = batch_size - batch_size % count, batch_size + count - batch_size % count
        near = f"{lower} or {upper}" if lower else str(upper)
        raise InputError(
            f"data.batch_size is {batch_size}, which {count} devices cannot share equally; "
            f"take {near}, or fewer devices"
        )
    return line(devices, ROWS)


def line(devices: Sequence[jax.Device], axis: str) -> Mesh:
    """A mesh of these devices with the one axis."""
    return jax.make_mesh((len(devices),), (axis,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding | None:
    """The same on every device: train state, keys, hyper-parameters. None for one device."""
    return _sharding(mesh, PartitionSpec())


def shared_out(mesh: Mesh) -> NamedSharding | None:
    """The first axis, cut into equal parts. None for one device."""
    return _sharding(mesh, PartitionSpec(*mesh.axis_names))


def _sharding(mesh: Mesh, spec: PartitionSpec) -> NamedSharding | None:
    # A sharding over one device is another type than none at all: whatever takes arrays of the
    # trainer and of the host, as the evaluation does, would be traced and compiled twice.
    return NamedSharding(mesh, spec) if mesh.size > 1 else None


def on_each(
    step: Callable,
    inputs: Sequence[NamedSharding | None],
    output: NamedSharding | None,
) -> Callable:
    """step(*arguments, **static) of which each device does what its own parts need.

    Devices meet only where the step itself asks for it. `inputs`: how each argument lies on them.
    """
    if output is None:
        return step

    def on_all(*arguments, **static):
        each = jax.shard_map(
            partial(step, **static),
            mesh=output.mesh,
            in_specs=tuple(x.spec if x else PartitionSpec() for x in inputs),
            out_specs=output.spec,
            check_vma=False,
        )
        return each(*arguments)

    return on_all


def sum_over_devices(tree: Any) -> Any:
    """The sum of what those have that share the rows of a batch.

    It is one array on the way: each exchange waits until all devices are there.
    """
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.psum(flat, ROWS))
