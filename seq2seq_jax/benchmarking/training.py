"""Times training updates: the first one, and windows of many."""

import functools
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax

from seq2seq_jax.benchmarking.machine import peak_memory, process_age
from seq2seq_jax.benchmarking.measured_step import (
    first_hyper,
    is_forced,
    make_key,
    make_state,
    make_step,
)
from seq2seq_jax.benchmarking.peers import Peers
from seq2seq_jax.benchmarking.products import operations, seconds_alone
from seq2seq_jax.data.batching import Batches, make_iterator, padding_share
from seq2seq_jax.data.buckets import Shape
from seq2seq_jax.training.losses import block_size
from seq2seq_jax.training.mesh import by_rows, data_mesh, replicated
from seq2seq_jax.types import PAD, Batch


class Training(NamedTuple):
    """What was measured of training; one entry of `tokens_per_second` a window."""

    tokens_per_second: list[float]
    targets: list[int]  # tokens of each window
    first_loss: float  # of the first update, with the initial parameters; nats a token
    first_update_seconds: float  # since the process was started
    compilations: int
    compile_seconds: float  # that were waited for
    step_share: float  # of the windows' time: all but waiting for a batch and handing it over
    padding: float  # share of source and target positions that hold no token, over an epoch
    temporary_bytes: dict[Shape, int]  # of the compiled step, for each batch shape
    peak_bytes: int  # of the process, on the host
    operations_per_second: float  # of the matrix products, those on padding too
    alone_per_second: float  # of the same products, done alone: what the machine could do
    product_share: float  # of the windows' time that the products need when done alone
    useful_share: float  # the same, of what is done for real tokens


class Window(NamedTuple):
    """Some updates in a row: their time and what was in their batches."""

    seconds: float
    waited: float  # seconds until the batches were there
    targets: int  # tokens
    tokens: int  # of both sides
    positions: int  # of both sides
    compared: int  # target positions in the loss's blocks
    programs: Counter[tuple[Shape, int]]  # batch shapes, with the blocks of their losses


def time_training(
    config, model, batches: Batches, windows: int, updates: int, peers: Peers
) -> Training:
    """Trains as the training loop does, without its logs, evaluations and checkpoints.

    The first update is followed by one on each other batch shape, so that the windows that come
    then compile nothing; each window is `updates` updates, from the run's own input pipeline, and
    ends when the last one has finished. The peers have a window of theirs after each.
    """
    graphdef, params = model
    mesh = data_mesh(config.data.batch_size)
    step_fn = make_step(config, graphdef)
    place_batch = functools.partial(jax.device_put, device=by_rows(mesh))
    state, hyper, key = jax.device_put(
        (make_state(config, params), first_hyper(config), make_key(config)),
        replicated(mesh),
        may_alias=False,
    )
    forced = is_forced(config)

    def update(state, batch: Batch):
        return step_fn(state, batch, hyper, key, forced=forced)

    ages, losses, temporary, example = [], [], {}, {}
    for batch in one_of_each_shape(batches):
        placed = place_batch(batch)
        state = jax.block_until_ready(update(state, placed))
        ages.append(process_age())
        if len(ages) == 1:
            blanks = map(place_batch, batches.blanks())
            step_fn.ahead(state, blanks, hyper, key, forced=forced)
        losses.append(float(state.window["loss"] / state.window["tokens"]))
        example[shape_of(batch)] = placed
        arguments = state, placed, hyper, key
        temporary[shape_of(batch)] = step_fn.temporary_bytes(*arguments, forced=forced)

    peers.start()
    peers.warm_up("train", len(temporary))
    timed = []
    iterator = make_iterator(batches, config.data.workers, config.data.prefetch)
    try:
        next(iterator)  # the pipeline has started
        for _ in range(windows):
            coming = ((batch, place_batch(batch)) for batch in itertools.islice(iterator, updates))
            state, window = time_window(update, state, coming)
            timed.append(window)
            peers.window("train", updates)
    finally:
        iterator.close()

    peak = peak_memory()
    done, for_tokens = Counter(), 0.0
    positions, tokens, compared, targets = (
        sum(getattr(window, name) for window in timed)
        for name in ("positions", "tokens", "compared", "targets")
    )
    for (shape, blocks), times in sum((window.programs for window in timed), Counter()).items():
        arguments = state, example[shape], hyper, key
        without, whole = (
            step_fn.products(*arguments, forced=forced, blocks=count) for count in (0, blocks)
        )
        done += Counter({product: count * times for product, count in whole.items()})
        of_loss = operations(whole) - operations(without)
        for_tokens += times * operations(without) * tokens / positions
        for_tokens += times * of_loss * targets / compared
    elapsed = sum(window.seconds for window in timed)
    alone = seconds_alone(done)
    return Training(
        [window.targets / window.seconds for window in timed],
        [window.targets for window in timed],
        losses[0],
        ages[0],
        step_fn.compilations,
        step_fn.seconds,
        1 - sum(window.waited for window in timed) / elapsed,
        padding_share(batches.lengths_N2, batches.shapes, batches.batch_size),
        dict(sorted(temporary.items())),
        peak,
        operations(done) / elapsed,
        operations(done) / alone,
        alone / elapsed,
        alone / elapsed * for_tokens / operations(done),
    )


def time_window(
    update: Callable, state, batches: Iterable[tuple[Batch, Batch]]
) -> tuple[Any, Window]:
    """The state after an update on each batch, given on the host and on the device, and what that
    took."""
    waited = 0.0
    targets = sources = positions = compared = 0
    programs = Counter()
    batches = iter(batches)
    start = asked = time.perf_counter()
    while (pair := next(batches, None)) is not None:
        waited += time.perf_counter() - asked
        batch, placed = pair
        state = update(state, placed)
        sources += int((batch.source_BS != PAD).sum())
        real = int((batch.target_BT != PAD).sum())
        targets += real
        positions += batch.source_BS.size + batch.target_BT.size
        size = block_size(batch.target_BT.size)
        blocks = -(-real // size)
        compared += blocks * size
        programs[shape_of(batch), blocks] += 1
        asked = time.perf_counter()
    jax.block_until_ready(state)
    seconds = time.perf_counter() - start
    return state, Window(seconds, waited, targets, sources + targets, positions, compared, programs)


def one_of_each_shape(batches: Batches) -> Iterator[Batch]:
    """The first batch of the run, then the first of each other shape that the first epoch has."""
    seen = set()
    for i in range(batches.per_epoch):
        batch = batches[i]
        if shape_of(batch) not in seen:
            seen.add(shape_of(batch))
            yield batch
        if len(seen) == len(batches.shapes):
            return


def shape_of(batch: Batch) -> Shape:
    return batch.source_BS.shape[1], batch.target_BT.shape[1]
