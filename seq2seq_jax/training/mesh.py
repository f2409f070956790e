"""Data parallelism: every local device takes its share of the rows of a batch."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seq2seq_jax.types import InputError


def data_mesh(batch_size: int, devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh with the one axis "data" over all local devices (or the given ones).

    A batch must fall into equal parts: InputError where it does not.
    """
    devices = jax.local_devices() if devices is None else devices
    count = len(devices)
    if batch_size % count:
        lower, upper = batch_size - batch_size % count, batch_size + count - batch_size % count
        near = f"{lower} or {upper}" if lower else str(upper)
        raise InputError(
            f"data.batch_size is {batch_size}, which {count} devices cannot share equally; "
            f"take {near}, or fewer devices"
        )
    # Auto: the compiler lays out what is between inputs and outputs; the step knows no mesh.
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding | None:
    """The same on every device: train state, keys, hyper-parameters. None for one device."""
    return _sharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding | None:
    """The first axis, B, cut into equal parts. None for one device."""
    return _sharding(mesh, PartitionSpec("data"))


def _sharding(mesh: Mesh, spec: PartitionSpec) -> NamedSharding | None:
    # A sharding over one device is another type than none at all: whatever takes arrays of the
    # trainer and of the host, as the evaluation does, would be traced and compiled twice.
    return NamedSharding(mesh, spec) if mesh.size > 1 else None
