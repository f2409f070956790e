"""Small sets of cases in which every two choices meet."""

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
    while left:
        best = max(range(len(every)), key=lambda i: len(pairs[i] & left))
        cases.append(every[best])
        left -= pairs[best]
    return cases
