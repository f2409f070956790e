"""The Grain iterator over batches, with a position that holds for any number of workers.

A module of its own, because importing Grain takes two seconds.
"""

import atexit
from typing import Any

import grain
import jax
import numpy as np
from absl import flags

from seq2seq_jax.data.batching import Batches, StackedBatches
from seq2seq_jax.types import Batch, InputError

# That prepare batches where there are no worker processes, by device. On a CPU the loop does it
# itself: more threads would wait for the cores that train, and the loop for them.
THREADS = {"cpu": 0}
OTHERWISE = 4


class BatchIterator(grain.DatasetIterator[Batch]):
    """The batches in their order, prepared ahead by threads or processes.

    The state is the index of the next batch to come out, whatever was read ahead, so a run may go
    on with another number of workers (Grain's own state of several processes holds for that
    number only). Being a Grain iterator, it can be an item of an Orbax checkpoint.
    """

    def __init__(self, batches: Batches | StackedBatches, workers: int, prefetch: int):
        super().__init__()
        self._batches = batches
        self._workers = workers
        self._prefetch = max(prefetch, 1)
        self._running: grain.DatasetIterator[Batch] | None = None
        self._next = 0

    def __next__(self) -> Batch:
        self._assert_not_closed()
        batch = next(self._open())
        self._next += 1
        # Copies: arrays of worker processes lie in shared memory, which must not outlive them.
        return jax.tree.map(np.array, batch) if self._workers else batch

    def get_state(self) -> dict[str, Any]:
        return {"next_index": self._next}

    def set_state(self, state: dict[str, Any]) -> None:
        index = state["next_index"]
        if not 0 <= index <= len(self._batches):
            raise InputError(
                f"the data position {index} is outside the run's {len(self._batches)} batches: "
                "was the checkpoint written with other data?"
            )
        self._stop()
        self._next = index

    def start_prefetch(self) -> None:
        self._open().start_prefetch()

    def close(self) -> None:
        self._stop()
        super().close()

    def _open(self) -> grain.DatasetIterator[Batch]:
        if self._running is None:
            self._running = iter(self._dataset())
            if self._workers:  # processes that outlive this one print pages of errors
                atexit.register(self.close)
        return self._running

    def _stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
            atexit.unregister(self.close)

    def _dataset(self) -> grain.IterDataset[Batch]:
        batches = grain.MapDataset.source(self._batches)[self._next :]
        if self._workers == 0:
            threads = THREADS.get(jax.default_backend(), OTHERWISE)
            options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=self._prefetch)
            return batches.to_iter_dataset(options)
        if not flags.FLAGS.is_parsed():  # Grain reads flags; in a notebook nobody has parsed any
            flags.FLAGS.mark_as_parsed()
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
        ahead = max(self._prefetch // self._workers, 1)
        return batches.to_iter_dataset(options).mp_prefetch(
            grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=ahead)
        )
