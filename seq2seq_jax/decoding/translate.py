"""From source ids to translations on the host: batching, one jitted search, order kept."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from flax import nnx

from seq2seq_jax.data.vocabulary import Vocabulary
from seq2seq_jax.decoding.search import Hypotheses, greedy
from seq2seq_jax.types import EOS, PAD

T = TypeVar("T")

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


def _one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The items, each one handed out after the next one was asked for."""
    held: deque[T] = deque()
    for item in items:
        held.append(item)
        if len(held) > 1:
            yield held.popleft()
    yield from held


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
        chunks = [order[start : start + rows] for start in range(0, len(order), rows)]
        results: dict[int, Translation] = {}
        searches = (
            (chunk, self._begin(params, [sources[i] for i in chunk], rows)) for chunk in chunks
        )
        # A search is under way while the texts of the one before are made.
        for chunk, found in _one_ahead(searches):
            of_chunk = self._translations([sources[i] for i in chunk], found)
            results |= zip(chunk, of_chunk, strict=True)
        return [results[i] for i in range(len(sources))]

    def _begin(self, params, sources: Sequence[Sequence[int] | np.ndarray], rows: int):
        """Starts the search for one batch, filled up to `rows`; nothing waits for its end."""
        width = _round_up(max(map(len, sources)), WIDTH_STEP)
        source_BS = np.full((rows, width), PAD, np.int32)
        limit_B = np.zeros(rows, np.int32)
        for row, ids in enumerate(sources):
            source_BS[row, : len(ids)] = ids
            limit_B[row] = self.limit(len(ids) - 1)
        return self._search(params, source_BS, limit_B, self.temperature, self.limit(width))

    def _translations(self, sources, found: Hypotheses) -> list[Translation]:
        found = jax.device_get(found)
        rows = zip(found.token_BT, found.score_B, found.alignment_BTNS.mean(axis=2), strict=True)
        return [self._translation(ids, *row) for ids, row in zip(sources, rows, strict=False)]

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
