"""Times training updates: the first one, and windows of many."""

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax

from seq2seq_jax.benchmarking.machine import peak_memory, process_age
from seq2seq_jax.benchmarking.members import Members
from seq2seq_jax.benchmarking.peers import Peers
from seq2seq_jax.benchmarking.products import operations, seconds_alone
from seq2seq_jax.data.batching import Batches, make_iterator, padding_share
from seq2seq_jax.data.buckets import Shape
from seq2seq_jax.training.member import Lane
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
    run = Members([Lane(config, params)], graphdef)
    ages, losses, temporary, example = [], [], {}, {}
    for batch in one_of_each_shape(batches):
        run.seconds([batch])
        ages.append(process_age())
        if len(ages) == 1:
            run.ahead(batches.blanks())
        losses.append(float(run.state.window["loss"] / run.state.window["tokens"]))
        example[shape_of(batch)] = batch
        temporary[shape_of(batch)] = run.temporary_bytes(batch)

    peers.start()
    peers.warm_up("train", len(temporary))
    timed = []
    iterator = make_iterator(batches, config.data.workers, config.data.prefetch)
    try:
        next(iterator)  # the pipeline has started
        for _ in range(windows):
            timed.append(time_window(run, itertools.islice(iterator, updates)))
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
        without, whole = (run.products(example[shape], count) for count in (0, blocks))
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
        run.step.compilations,
        run.step.seconds,
        1 - sum(window.waited for window in timed) / elapsed,
        padding_share(batches.lengths_N2, batches.shapes, batches.batch_size),
        dict(sorted(temporary.items())),
        peak,
        operations(done) / elapsed,
        operations(done) / alone,
        alone / elapsed,
        alone / elapsed * for_tokens / operations(done),
    )


def time_window(run: Members, batches: Iterable[Batch]) -> Window:
    """What an update on each batch took."""
    waited = 0.0
    targets = sources = positions = compared = 0
    programs = Counter()
    batches = iter(batches)
    start = asked = time.perf_counter()
    while (batch := next(batches, None)) is not None:
        placed = run.place(batch)
        waited += time.perf_counter() - asked
        run.update(placed)
        sources += int((batch.source_BS != PAD).sum())
        real = int((batch.target_BT != PAD).sum())
        targets += real
        positions += batch.source_BS.size + batch.target_BT.size
        blocks, in_blocks = run.loss_blocks(batch.target_BT)
        compared += in_blocks
        programs[shape_of(batch), blocks] += 1
        asked = time.perf_counter()
    jax.block_until_ready(run.state)
    seconds = time.perf_counter() - start
    return Window(seconds, waited, targets, sources + targets, positions, compared, programs)


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
