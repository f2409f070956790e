"""Times greedy translation."""

import time
from typing import NamedTuple

import jax
import numpy as np

from seq2seq_jax.benchmarking.peers import Peers
from seq2seq_jax.benchmarking.workloads import Examples
from seq2seq_jax.decoding.translate import Translator
from seq2seq_jax.types import EOS


class Greedy(NamedTuple):
    """What was measured of translation; one entry of `sentences_per_second` a window."""

    sentences_per_second: list[float]
    sentences: int
    mean_tokens: float  # of a translation


def time_greedy(
    config, model, examples: Examples, windows: int, sentences: int, peers: Peers
) -> Greedy:
    """Translates the same sentences in each window, after once to compile, and so do the peers.

    An untrained model has no idea when to end. Here it never does, and every translation has as
    many tokens as its limit, which the workload sets near the lengths of its targets.
    """
    graphdef, params = model
    translator = Translator([graphdef], *examples.vocabularies, config.evaluation)
    sources = examples.source[:sentences]
    params = [jax.device_put(never_ending(params))]
    found = translator(params, sources)
    peers.warm_up("greedy", len(sources))
    rates = []
    for _ in range(windows):
        start = time.perf_counter()
        translator(params, sources)
        rates.append(len(sources) / (time.perf_counter() - start))
        peers.window("greedy", len(sources))
    return Greedy(rates, len(sources), float(np.mean([len(one.tokens) for one in found])))


def never_ending(params):
    """The parameters with a bias that no end token can overcome."""
    decoder = params["decoder"]
    bias_V = np.array(decoder["output_bias"])
    bias_V[EOS] = -1e9
    return {**params, "decoder": {**decoder, "output_bias": bias_V}}
