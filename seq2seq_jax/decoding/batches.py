"""Which sources are searched together: those of like lengths, in batches of two sizes."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

# Rows that would take as long as what a step costs beside its rows; measured on a CPU alone. A step
# of an accelerator hardly depends on its rows, so that few and full batches are best there.
STEP = {"cpu": 16, "gpu": 512, "tpu": 512}


class Cut(NamedTuple):
    """Sources `start` to `end` of those in order, in a batch of so many rows."""

    start: int
    end: int
    rows: int


def cut_batches(steps: Sequence[int], rows: int) -> list[Cut]:
    """The cheapest cut of sources into batches of `rows` or of half as many, shortest first.

    `steps`, ascending: how many each source may take. A batch takes as many as its longest row, so
    that it costs (rows + STEP) x steps of the last one, empty rows included. Two sizes are few
    programs to compile, and enough that a few long sources do not make many wait.
    """
    fixed = STEP[jax.default_backend()]
    sizes = sorted({rows, max(1, rows // 2)}, reverse=True)
    # cheapest[n]: of the first n sources, the least cost, and the last batch of that cut.
    cheapest: list[tuple[int, Cut]] = [(0, Cut(0, 0, 0))]
    for end, longest in enumerate(steps, start=1):
        last = [Cut(max(0, end - size), end, size) for size in sizes]
        costs = [cheapest[cut.start][0] + (cut.rows + fixed) * longest for cut in last]
        cheapest.append(min(zip(costs, last, strict=True), key=lambda pair: pair[0]))
    cuts, end = [], len(steps)
    while end:
        cuts.append(cheapest[end][1])
        end = cuts[-1].start
    return cuts[::-1]
