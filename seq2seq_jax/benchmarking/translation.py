"""Times translation: greedy search, and beam search where the config has a beam."""

import time
from typing import NamedTuple

import jax
import numpy as np

from seq2seq_jax.benchmarking.peers import Peers
from seq2seq_jax.benchmarking.workloads import Examples
from seq2seq_jax.decoding.strategies import BeamSearch
from seq2seq_jax.decoding.translate import Translator
from seq2seq_jax.types import EOS


class Searched(NamedTuple):
    """What was measured of a search; one entry of `sentences_per_second` a window."""

    sentences_per_second: list[float]
    sentences: int
    mean_tokens: float  # of a translation


def time_searches(
    config, model, examples: Examples, windows: int, sentences: int, peers: Peers
) -> dict[str, Searched]:
    """Translates the same sentences in each window, after once to compile, and so do the peers:
    with each search, by its name.

    An untrained model has no idea when to end. Here it never does, and every translation has as
    many tokens as its limit, which the workload sets near the lengths of its targets.
    """
    graphdef, params = model
    translator = Translator([graphdef], *examples.vocabularies, config.evaluation)
    sources = examples.source[:sentences]
    params = [jax.device_put(never_ending(params))]
    searches: dict[str, BeamSearch | None] = {"greedy": None}
    if config.evaluation.beam > 1:
        searches["beam"] = BeamSearch.of(config.evaluation)
    results = {}
    for name, strategy in searches.items():
        found = translator.search(params, sources, strategy)
        peers.warm_up(name, len(sources))
        rates = []
        for _ in range(windows):
            start = time.perf_counter()
            translator.search(params, sources, strategy)
            rates.append(len(sources) / (time.perf_counter() - start))
            peers.window(name, len(sources))
        mean_tokens = float(np.mean([len(best.tokens) for best, *_ in found]))
        results[name] = Searched(rates, len(sources), mean_tokens)
    return results


def never_ending(params):
    """The parameters with a bias that no end token can overcome."""
    decoder = params["decoder"]
    bias_V = np.array(decoder["output_bias"])
    bias_V[EOS] = -1e9
    return {**params, "decoder": {**decoder, "output_bias": bias_V}}
