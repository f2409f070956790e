"""Small sets of cases in which every two choices meet."""

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def covering(
    axes: Mapping[str, Sequence[Any]], allowed: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Allowed cases, one value of each axis in each, that hold every pair of values that any
    allowed case holds. Greedy, so not the fewest possible; the same ones at each call."""
    names = list(axes)
    every = [dict(zip(names, values, strict=True)) for values in itertools.product(*axes.values())]
    every = [case for case in every if allowed(case)]
    pairs = [set(itertools.combinations(case.items(), 2)) for case in every]
    left = set().union(*pairs)
    cases = []
    # What a case adds never grows, so that one is best if counting anew leaves it first.
    best = [(-len(held), i) for i, held in enumerate(pairs)]
    heapq.heapify(best)
    while left:
        i = best[0][1]
        now = -len(pairs[i] & left), i
        heapq.heapreplace(best, now)
        if best[0] == now:
            cases.append(every[i])
            left -= pairs[i]
    return cases
