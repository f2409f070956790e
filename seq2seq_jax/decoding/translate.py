"""From source ids to translations on the host: batching, one jitted search, order kept."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx

from seq2seq_jax.data.vocabulary import Vocabulary
from seq2seq_jax.decoding.search import greedy
from seq2seq_jax.types import EOS, PAD

WIDTH_STEP = 8  # source widths are rounded up to it, so that few shapes are compiled


class Translation(NamedTuple):
    """A hypothesis. `score` sums the log probabilities of its tokens, the end token's included.

    `alignment` is tokens x source tokens, the mean over heads; both lists end in the end token,
    except a hypothesis that ran into its length limit.
    """

    text: str
    score: float
    tokens: list[str]
    source_tokens: list[str]
    alignment: np.ndarray


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


class Translator:
    """Greedy translation of any number of sources with the parameters given at the call.

    `temperature` of the attention: the model's own if None, else traced.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        source: Vocabulary,
        target: Vocabulary,
        evaluation,
    ):
        self.source = source
        self.target = target
        self.batch_size = evaluation.batch_size
        self.factor = evaluation.max_length_factor
        self.extra = evaluation.max_length_extra
        self.temperature: np.float32 | None = None

        @partial(jax.jit, static_argnames="positions")
        def search(params, source_BS, limit_B, temperature, positions):
            model = nnx.merge(graphdef, params)
            return greedy(model, source_BS, limit_B, temperature, positions=positions)

        self._search = search

    def limit(self, words: int) -> int:
        """Tokens that a hypothesis for a source of so many words may have; none for no words."""
        return int(self.factor * words) + self.extra if words else 0

    def __call__(self, params, sources: Sequence[Sequence[int] | np.ndarray]) -> list[Translation]:
        """Translates ids (each source ends in EOS), longest with longest; gives the order asked."""
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
        rows = min(self.batch_size, 1 << max(len(sources) - 1, 0).bit_length())
        results: dict[int, Translation] = {}
        for start in range(0, len(order), rows):
            chunk = order[start : start + rows]
            width = _round_up(max(len(sources[i]) for i in chunk), WIDTH_STEP)
            source_BS = np.full((rows, width), PAD, np.int32)
            limit_B = np.zeros(rows, np.int32)
            for row, i in enumerate(chunk):
                source_BS[row, : len(sources[i])] = sources[i]
                limit_B[row] = self.limit(len(sources[i]) - 1)
            found = jax.device_get(
                self._search(params, source_BS, limit_B, self.temperature, self.limit(width))
            )
            alignment_BTS = found.alignment_BTNS.mean(axis=2)
            for row, i in enumerate(chunk):
                results[i] = self._translation(
                    sources[i], found.token_BT[row], found.score_B[row], alignment_BTS[row]
                )
        return [results[i] for i in range(len(sources))]

    def _translation(self, source_ids, token_T, score, alignment_TS) -> Translation:
        ended = np.flatnonzero((token_T == EOS) | (token_T == PAD))
        # Up to the end token, itself included; a hypothesis cut by its limit has none.
        length = len(token_T) if not len(ended) else ended[0] + int(token_T[ended[0]] == EOS)
        return Translation(
            self.target.decode(token_T[:length]),
            float(score),
            [self.target.token(int(i)) for i in token_T[:length]],
            [self.source.token(int(i)) for i in source_ids],
            alignment_TS[:length, : len(source_ids)],
        )
