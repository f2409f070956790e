"""The loop of a search, which goes on with half of the rows when the other half is done."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

# Fewest rows to go on with: each size is a program of its own to compile. A step of an accelerator
# hardly depends on its rows: none are dropped there.
FEWEST = {"cpu": 32}


def until_done(
    advance: Callable[[Any, Any], Any],
    loop: Any,
    given: Any,
    axes: Callable[[], tuple[Any, Any]],
    steps: int,
) -> Any:
    """loop = advance(loop, given) until all of `loop.done_B` are true or `loop.step` is `steps`.

    Whenever half of the rows are done, the others go on alone, down to FEWEST; so no row may depend
    on another, nor change once it is done. `axes()` gives, of each leaf of `loop` and of `given`,
    the axis of the rows, -1 where it has none.
    """
    half = half_of(len(loop.done_B))

    def goes_on(loop):
        return (jnp.sum(~loop.done_B) > half) & (loop.step < steps)

    loop = jax.lax.while_loop(goes_on, lambda loop: advance(loop, given), loop)
    if not half:
        return loop
    of_loop, of_given = axes()
    row_H = jnp.argsort(loop.done_B, stable=True)[:half]  # all that are not done are among them
    few, of_few = _take(loop, row_H, of_loop), _take(given, row_H, of_given)
    few = until_done(advance, few, of_few, lambda: (of_loop, of_given), steps)
    return _put(loop, row_H, few, of_loop)


def half_of(rows: int) -> int:
    """With how many rows to go on; 0: with no fewer than these."""
    fewest = FEWEST.get(jax.default_backend(), rows)
    return rows // 2 if rows >= 2 * fewest else 0


def axes_of_rows(make: Callable[[Int[Array, "B S"]], Any], source_BS: Int[Array, "B S"]) -> Any:
    """The axes, for `until_done`, of what `make` makes of sources: those that grow with them."""
    width, dtype = source_BS.shape[1], source_BS.dtype
    two, three = (jax.eval_shape(make, jax.ShapeDtypeStruct((n, width), dtype)) for n in (2, 3))

    def axis(one, other):
        return next((i for i, n in enumerate(one.shape) if n != other.shape[i]), -1)

    return jax.tree.map(axis, two, three)


def first_axes(tree: Any) -> Any:
    """The axes of a tree with rows on the first axis of all leaves that have any."""
    return jax.tree.map(lambda leaf: 0 if leaf.ndim else -1, tree)


def _take(tree: Any, row_H: Int[Array, " H"], axes: Any) -> Any:
    return jax.tree.map(lambda x, axis: x if axis < 0 else jnp.take(x, row_H, axis), tree, axes)


def _put(tree: Any, row_H: Int[Array, " H"], few: Any, axes: Any) -> Any:
    def one(x, of_few, axis):
        return of_few if axis < 0 else x.at[(slice(None),) * axis + (row_H,)].set(of_few)

    return jax.tree.map(one, tree, few, axes)
