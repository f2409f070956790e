"""A function of some rows of a batch, without the work of the others."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

PARTS = 8  # of a batch: so many sizes are compiled
# Numbers that a batch has to make, by device, to be worth the gathering. A step of an accelerator
# hardly depends on its rows, and a branch there waits for the host: it takes them all.
WORTH = {"cpu": 1 << 16}


def worth_it(numbers: int) -> bool:
    """Whether leaving rows out pays where all of them make so many numbers."""
    return numbers >= WORTH.get(jax.default_backend(), numbers + 1)


def of_some_rows(
    function: Callable[..., Int[Array, " R"]], wanted_B: Bool[Array, " B"], *arrays: Array
) -> Int[Array, " B"]:
    """function(*arrays) in the wanted rows, 0 or what it gives in the others.

    It must make each row of its own row of the arrays. It sees the wanted ones, filled up with
    others to the next eighth of the batch; where none is wanted it is not called.
    """
    batch = len(wanted_B)
    sizes = sorted({part * batch // PARTS for part in range(PARTS + 1)})
    row_B = jnp.argsort(~wanted_B, stable=True)

    def of_the_first(size: int):
        def branch():
            zeros_B = jnp.zeros(batch, jnp.int32)
            row_R = row_B[:size]
            return zeros_B.at[row_R].set(function(*(x[row_R] for x in arrays)))

        return branch if size else lambda: jnp.zeros(batch, jnp.int32)

    enough = jnp.searchsorted(jnp.array(sizes), wanted_B.sum())
    return jax.lax.switch(enough, [of_the_first(size) for size in sizes])
