"""Times translation: greedy search, and beam search where the config has a beam."""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from seq2seq_jax.benchmarking.peers import Peers
from seq2seq_jax.decoding.strategies import BeamSearch
from seq2seq_jax.types import EOS


class Searched(NamedTuple):
    """What was measured of a search; one entry of `sentences_per_second` a window."""

    sentences_per_second: list[float]
    sentences: int
    mean_tokens: float  # of a translation


def time_searches(
    search: Callable[..., Any], evaluation, sources: Sequence, windows: int, peers: Peers
) -> dict[str, Searched]:
    """`search(sources, strategy)` in each window, after once to compile, and so do the peers: with
    each strategy, by its name."""
    strategies: dict[str, BeamSearch | None] = {"greedy": None}
    if evaluation.beam > 1:
        strategies["beam"] = BeamSearch.of(evaluation)
    results = {}
    for name, strategy in strategies.items():
        found = search(sources, strategy)
        peers.warm_up(name, len(sources))
        rates = []
        for _ in range(windows):
            gc.collect()  # the many objects of all that was compiled: no search's business
            start = time.perf_counter()
            search(sources, strategy)
            rates.append(len(sources) / (time.perf_counter() - start))
            peers.window(name, len(sources))
        mean_tokens = float(np.mean([len(best.tokens) for best, *_ in found]))
        results[name] = Searched(rates, len(sources), mean_tokens)
    return results


def never_ending(params):
    """The parameters with a bias that no end token can overcome.

    An untrained model has no idea when to end. With these it never does, and every translation has
    as many tokens as its limit, which a workload sets near the lengths of its targets.
    """
    decoder = params["decoder"]
    bias_V = np.array(decoder["output_bias"])
    bias_V[EOS] = -1e9
    return {**params, "decoder": {**decoder, "output_bias": bias_V}}
