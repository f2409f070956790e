"""How to search, as plain values that a caller chooses: beam search or sampling."""

import math
from dataclasses import dataclass

import jax.numpy as jnp

from seq2seq_jax.config_checks import CHOICES, COLDEST, RANGES
from seq2seq_jax.decoding.penalties import Ranking
from seq2seq_jax.decoding.search import Sampling
from seq2seq_jax.types import InputError

LENGTH_PENALTIES = CHOICES["evaluation.length_penalty"]


@dataclass(frozen=True)
class BeamSearch:
    """`size` live hypotheses (K), of which the `n_best` best that ended are handed out.

    They are ranked by log p / lp + cp. lp: 1 (none), the number of tokens (average), its power
    `length_alpha` (power), or ((5 + tokens) / 6)^alpha (gnmt). cp: `coverage_penalty` times the sum
    of log(min(attention received, 1)) over the source. `min_length`: tokens before the end token,
    at least. `block_ngrams`: no so many tokens occur twice; 0: they may.

    With size 1 it is greedy search, whatever the penalties; `min_length` and `block_ngrams` hold.
    Raises InputError for values out of range.
    """

    size: int = 5
    n_best: int = 1
    length_penalty: str = "none"
    length_alpha: float = 1.0
    coverage_penalty: float = 0.0
    min_length: int = 0
    block_ngrams: int = 0

    def __post_init__(self):
        if self.length_penalty not in LENGTH_PENALTIES:
            raise InputError(
                f"length_penalty={self.length_penalty!r}: not one of {', '.join(LENGTH_PENALTIES)}"
            )
        if self.size < 1:
            raise InputError(f"a beam of {self.size}: less than 1")
        if not 1 <= self.n_best <= self.size:
            raise InputError(
                f"n_best={self.n_best} of a beam of {self.size}: it can be 1 to {self.size}, or"
                " take a wider beam, as with --beam"
            )
        for name in ("length_alpha", "coverage_penalty", "min_length", "block_ngrams"):
            value, allowed = getattr(self, name), RANGES[f"evaluation.{name}"]
            if value not in allowed:
                raise InputError(f"{name}={value}: it has to be {allowed}")

    @classmethod
    def of(cls, evaluation, n_best: int = 1) -> "BeamSearch":
        """As the part `evaluation` of a config says."""
        return cls(
            evaluation.beam,
            n_best,
            evaluation.length_penalty,
            evaluation.length_alpha,
            evaluation.coverage_penalty,
            evaluation.min_length,
            evaluation.block_ngrams,
        )

    def ranking(self) -> Ranking:
        alpha = {"none": 0.0, "average": 1.0}.get(self.length_penalty, self.length_alpha)
        return Ranking(
            jnp.float32(alpha),
            jnp.asarray(self.length_penalty == "gnmt"),
            jnp.float32(self.coverage_penalty),
            jnp.int32(self.min_length),
        )


@dataclass(frozen=True)
class Sample:
    """`draws` translations of each source, each token drawn: see `search.Sampling`.

    The same `seed` draws the same for the same source at the same place of the input, whatever is
    translated beside it. Raises InputError for values out of range.
    """

    draws: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self):
        if self.draws < 1:
            raise InputError(f"draws={self.draws}: less than 1")
        if not COLDEST <= self.temperature < math.inf:
            raise InputError(
                f"temperature={self.temperature}: it has to be {COLDEST} or more, and finite"
            )
        if self.seed not in RANGES["seed"]:
            raise InputError(f"seed={self.seed}: it has to be {RANGES['seed']}")
        if self.top_k < 0:
            raise InputError(f"top_k={self.top_k}: less than 0, which stands for all tokens")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p={self.top_p}: it has to be above 0, and 1 at most")

    def sampling(self) -> Sampling:
        return Sampling(
            jnp.float32(self.temperature), jnp.int32(self.top_k), jnp.float32(self.top_p)
        )
