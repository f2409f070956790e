"""What the generated tasks share: random choices, sizes, lengths, and cutting into splits."""

from collections.abc import Sequence
from typing import TypeVar

import ml_collections
import numpy as np

from seq2seq_jax.types import InputError, Pair, Splits

T = TypeVar("T")


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
    sizes = []
    for key, default in zip(("train_size", "valid_size", "test_size"), defaults, strict=True):
        if data[key] < 0:
            raise InputError(f"data.{key} = {data[key]}: expected 0 (the default) or more")
        sizes.append(data[key] or default)
    return tuple(sizes)


def length_range(
    data: ml_collections.ConfigDict, defaults: tuple[int, int], smallest: int
) -> tuple[int, int]:
    """(min_length, max_length) of the source in tokens; 0 in the config means the default.

    A default gives way to the other bound: min_length=30 alone means exactly 30 or more, up to
    the default or 30, whichever is larger.
    """
    task = data.task
    low = task.min_length or min(defaults[0], task.max_length or defaults[0])
    high = task.max_length or max(defaults[1], low)
    if low < smallest:
        key = "min_length" if task.min_length else "max_length"
        raise InputError(f"data.task.{key} = {task[key]}: expected {smallest} or more source tokens")
    if low > high:
        raise InputError(
            f"data.task.min_length = {low} is above data.task.max_length = {high}: swap them"
        )
    return low, high


def cut(draw: Draw, pairs: list[Pair], sizes: Sequence[int]) -> Splits:
    """Shuffles, then cuts into train, valid and test."""
    draw.shuffle(pairs)
    train, valid, test = sizes
    return Splits(pairs[:train], pairs[train : train + valid], pairs[train + valid :][:test])
