"""The jitted training step: compiled ahead, in parallel, and with a count of its compilations."""

import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import jax
from jax.sharding import NamedSharding

from seq2seq_jax.types import Batch

Signature = tuple  # the shapes of a batch's arrays, and whether the path is the forced one


class CompiledStep:
    """`step(state, batch, hyper, key, forced=...)` under jax.jit, the state donated.

    `sharding` is that of the state.

    `compilations` counts how often it was traced and compiled, `seconds` the time that calls waited
    for that. Each batch shape of each path (forced or not) should compile once; RuntimeWarning
    where one does so again.
    """

    def __init__(self, step: Callable, sharding: NamedSharding | None):
        self.seconds = 0.0
        self._traced: Counter[Signature] = Counter()
        self._ahead: dict[Signature, Future] = {}
        self._threads = ThreadPoolExecutor(os.cpu_count(), "compile")

        def counted(state, batch, hyper, key, *, forced):
            self._traced[_signature(batch, forced)] += 1  # runs while tracing only
            return step(state, batch, hyper, key, forced=forced)

        # The state stays where it is, whatever the partitioner would prefer: no second signature.
        self._jitted = jax.jit(
            counted, static_argnames="forced", donate_argnums=0, out_shardings=sharding
        )

    @property
    def compilations(self) -> int:
        return self._traced.total()

    def ahead(self, state, batches: Iterable[Batch], hyper, key, *, forced: bool) -> None:
        """Compiles for such batches in other threads, where no call has done so."""
        # The arrays may be donated before their turn comes.
        state, hyper, key = jax.tree.map(_described, (state, hyper, key))

        def compile_for(batch):
            self._jitted.lower(state, batch, hyper, key, forced=forced).compile()

        for batch in batches:
            signature = _signature(batch, forced)
            if signature not in self._traced:
                described = jax.tree.map(_described, batch)
                self._ahead[signature] = self._threads.submit(compile_for, described)

    def __call__(self, state, batch, hyper, key, *, forced: bool):
        signature, start = _signature(batch, forced), time.perf_counter()
        ahead = self._ahead.pop(signature, None)
        if ahead is not None:
            ahead.result()
        before = self._traced[signature]
        state = self._jitted(state, batch, hyper, key, forced=forced)
        if ahead is not None or self._traced[signature] != before:
            self.seconds += time.perf_counter() - start
        if self._traced[signature] != before and before:
            warnings.warn(
                f"the training step was compiled {self._traced[signature]} times for one batch "
                "shape and path: some argument changed its type, and every compilation costs "
                "seconds",
                RuntimeWarning,
                stacklevel=2,
            )
        return state

    def close(self) -> None:
        """Leaves out what has not begun to compile."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _signature(batch: Batch, forced: bool) -> Signature:
    return *(array.shape for array in jax.tree.leaves(batch)), forced


def _described(array) -> jax.ShapeDtypeStruct:
    """What jax.jit knows an array by: a committed one by its devices too."""
    sharding = array.sharding if getattr(array, "committed", False) else None
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
