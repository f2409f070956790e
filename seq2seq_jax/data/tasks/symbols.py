"""Copy, reverse and sort: sequences of symbols, with exact gold alignments.

The symbols are the numbers 0 .. data.task.symbols - 1 as words, ordered by value.
"""

from collections.abc import Callable

import ml_collections

from seq2seq_jax.data.tasks.sampling import Draw, cut, distinct, length_range, split_sizes
from seq2seq_jax.types import InputError, Pair, Splits

SIZES = (10_000, 500, 500)  # train, valid, test
LENGTHS = (3, 12)
SYMBOLS = 20


def _copy(numbers: list[int]) -> list[int]:
    return list(range(len(numbers)))


def _reverse(numbers: list[int]) -> list[int]:
    return list(range(len(numbers)))[::-1]


def _sort(numbers: list[int]) -> list[int]:
    """Stable: equal symbols keep their order, which makes the links exact."""
    return sorted(range(len(numbers)), key=numbers.__getitem__)


def _make_task(
    name: str, order: Callable[[list[int]], list[int]]
) -> Callable[[ml_collections.ConfigDict], Splits]:
    """`order(numbers)` gives the source position of each target word."""

    def generate(data: ml_collections.ConfigDict) -> Splits:
        sizes = split_sizes(data, SIZES)
        low, high = length_range(data, LENGTHS, smallest=1)
        symbols = data.task.symbols or SYMBOLS
        if symbols < 2:
            raise InputError(f"data.task.symbols = {symbols}: expected 2 or more")
        draw = Draw(data.seed)

        def make(length: int) -> Pair:
            numbers = [draw.below(symbols) for _ in range(length)]
            places = order(numbers)
            links = tuple(sorted((s, t) for t, s in enumerate(places)))
            target = " ".join(str(numbers[s]) for s in places)
            return Pair(" ".join(map(str, numbers)), target, links)

        counts = {length: symbols**length for length in range(low, high + 1)}
        return cut(draw, distinct(draw, make, counts, sum(sizes), name), sizes)

    return generate


copy = _make_task("copy", _copy)
reverse = _make_task("reverse", _reverse)
sort = _make_task("sort", _sort)
