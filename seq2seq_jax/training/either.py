"""One of two trees, by a condition that is known on the device alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

# Numbers from which a branch is worth its start, by device. An accelerator's waits for the host.
WORTH = {"cpu": 3_000_000}


def worth_a_branch(numbers: int) -> bool:
    return numbers >= WORTH.get(jax.default_backend(), numbers + 1)


def either(condition: Bool[Array, ""], make: Callable[[], Any], otherwise: Any) -> Any:
    """make() where the condition holds, else `otherwise`, a tree of such arrays.

    To choose number by number keeps the old ones until the new ones are made: XLA then copies
    those of a train state that lie where the new ones are to lie. A branch lets go of them.
    """
    if worth_a_branch(sum(leaf.size for leaf in jax.tree.leaves(otherwise))):
        return jax.lax.cond(condition, make, lambda: otherwise)
    return jax.tree.map(partial(jnp.where, condition), make(), otherwise)
