"""Explicit, named PRNG keys.

Two variants of a model share the initial values of everything that they have in common, because
a parameter's key depends on its name alone and never on the order of creation.
"""

import zlib

import jax


def named(key: jax.Array, name: str) -> jax.Array:
    """The key of the component called `name`: fold_in of a hash that is the same on every run."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
