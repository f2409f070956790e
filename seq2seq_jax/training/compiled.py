"""The jitted training step, with a count of its compilations."""

import time
import warnings
from collections.abc import Callable

import jax
from jax.sharding import NamedSharding


class CompiledStep:
    """`step(state, batch, hyper, key, forced=...)` under jax.jit, the state donated.

    `sharding` is that of the state.

    `compilations` counts how often it was traced and compiled, `seconds` the time that took. Each
    batch shape of each path (forced or not) should compile once; RuntimeWarning where one does
    so again.
    """

    def __init__(self, step: Callable, sharding: NamedSharding | None):
        self.compilations = 0
        self.seconds = 0.0
        self._expected: set[tuple] = set()

        def counted(state, batch, hyper, key, *, forced):
            self.compilations += 1  # runs while tracing only
            return step(state, batch, hyper, key, forced=forced)

        # The state stays where it is, whatever the partitioner would prefer: no second signature.
        self._jitted = jax.jit(
            counted, static_argnames="forced", donate_argnums=0, out_shardings=sharding
        )

    def __call__(self, state, batch, hyper, key, *, forced: bool):
        before, start = self.compilations, time.perf_counter()
        self._expected.add((*(array.shape for array in batch), forced))
        state = self._jitted(state, batch, hyper, key, forced=forced)
        if self.compilations != before:
            self.seconds += time.perf_counter() - start
            if self.compilations > len(self._expected):
                warnings.warn(
                    f"the training step was compiled {self.compilations} times for "
                    f"{len(self._expected)} batch shapes and paths: some argument changed its "
                    "type, and every compilation costs seconds",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return state
