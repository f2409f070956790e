"""Explicit, named PRNG keys.

Two variants of a model share the initial values of everything that they have in common, because
a parameter's key depends on its name alone and never on the order of creation.
"""

import zlib
from collections.abc import Callable, Sequence

import jax

ROWS = "rows"  # the mesh axis over which devices share the rows of a batch


def named(key: jax.Array, name: str) -> jax.Array:
    """The key of the component called `name`: fold_in of a hash that is the same on every run."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def drawn_by_place(
    draw: Callable[..., jax.Array],
    key: jax.Array,
    shape: Sequence[int],
    axis: int = 0,
) -> jax.Array:
    """draw(key, shape=shape), the rows of a batch along `axis`; on one of several devices that
    share the rows, its part of what one device would draw for all of them."""
    mesh = jax.sharding.get_abstract_mesh()
    if ROWS not in mesh.manual_axes:
        return draw(key, shape=shape)
    rows, whole = shape[axis], list(shape)
    whole[axis] = rows * mesh.shape[ROWS]
    first = jax.lax.axis_index(ROWS) * rows
    return jax.lax.dynamic_slice_in_dim(draw(key, shape=whole), first, rows, axis)
