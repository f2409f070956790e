"""What the generated tasks share: random choices, sizes, lengths, and cutting into splits."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, no_type_check

import ml_collections
import numpy as np

from seq2seq_jax.types import InputError, Pair, Splits

T = TypeVar("T")
PATIENCE = 40  # vain attempts


@no_type_check  # called a million times a data set: run-time checks would double the cost of tests
class Draw:
    """Random choices from one seed: the uniform numbers of PCG64, the same on every platform."""

    def __init__(self, seed: int):
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._block: list[float] = []

    def uniform(self) -> float:
        if not self._block:
            self._block = self._generator.random(65536).tolist()
        return self._block.pop()

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def below(self, size: int) -> int:
        return int(self.uniform() * size)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def shuffle(self, items: list) -> None:
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]


def split_sizes(data: ml_collections.ConfigDict, defaults: tuple[int, int, int]) -> tuple[int, ...]:
    """(train, valid, test) pairs; 0 in the config means the task's default."""
    given = data.train_size, data.valid_size, data.test_size
    return tuple(size or default for size, default in zip(given, defaults, strict=True))


def length_range(
    data: ml_collections.ConfigDict, defaults: tuple[int, int], smallest: int
) -> tuple[int, int]:
    """(min_length, max_length) of the source in tokens; 0 in the config means the default.

    A default gives way to the other bound where they would cross.
    """
    task = data.task
    low = task.min_length or min(defaults[0], task.max_length or defaults[0])
    high = task.max_length or max(defaults[1], low)
    if low < smallest:
        key = "min_length" if task.min_length else "max_length"
        raise InputError(
            f"data.task.{key} = {task[key]}: expected {smallest} or more source tokens"
        )
    return low, high


def distinct(
    draw: Draw,
    make: Callable[[int], Pair | None],
    counts: Mapping[int, int | None],
    total: int,
    name: str,
) -> list[Pair]:
    """`total` pairs with different sources, their lengths drawn evenly from those not used up.

    `make(length)` draws a pair, or None where an attempt led nowhere. `counts` says how many
    sources of each length there are; None: unknown, used up after PATIENCE vain attempts in a row.
    """
    pairs: dict[str, Pair] = {}
    found, vain = dict.fromkeys(counts, 0), dict.fromkeys(counts, 0)
    open_lengths = list(counts)
    known = [count for count in counts.values() if count is not None]
    if len(known) == len(counts) and sum(known) < total:
        raise _too_few(name, counts, sum(known), total)
    while len(pairs) < total:
        if not open_lengths:
            raise _too_few(name, counts, len(pairs), total)
        length = draw.pick(open_lengths)
        pair = make(length)
        if pair is not None and pair.source not in pairs:
            pairs[pair.source] = pair
            found[length] += 1
            vain[length] = 0
        else:
            vain[length] += 1
        count = counts[length]
        if (vain[length] >= PATIENCE) if count is None else (found[length] == count):
            open_lengths.remove(length)
    return list(pairs.values())


def _too_few(name: str, counts: Mapping[int, int | None], found: int, total: int) -> InputError:
    return InputError(
        f"{name}: found only {found} different examples of {min(counts)} to {max(counts)} source "
        f"tokens, but data.train_size + data.valid_size + data.test_size make {total}; raise "
        "data.task.max_length or lower the sizes"
    )


def cut(draw: Draw, pairs: list[Pair], sizes: Sequence[int]) -> Splits:
    """Shuffles (lengths with few examples are used up early), then cuts."""
    draw.shuffle(pairs)
    train, valid, test = sizes
    return Splits(pairs[:train], pairs[train : train + valid], pairs[train + valid :][:test])
