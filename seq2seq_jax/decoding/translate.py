"""From source ids to translations on the host: batching, one jitted search, order kept."""

import contextlib
import gc
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seq2seq_jax.data.vocabulary import Vocabulary
from seq2seq_jax.decoding.batches import cut_batches
from seq2seq_jax.decoding.beam import beam_search
from seq2seq_jax.decoding.predictor import Predictor
from seq2seq_jax.decoding.search import Hypotheses, greedy, sample
from seq2seq_jax.decoding.strategies import BeamSearch, Sample
from seq2seq_jax.training.mesh import cores_for, data_mesh, on_each, replicated, shared_out
from seq2seq_jax.types import EOS, PAD, SPECIALS

T = TypeVar("T")

WIDTH_STEP = 4  # source widths are rounded up to it, so that few shapes are compiled


class Translation(NamedTuple):
    """A hypothesis. `score` is what it was ranked by: its log probability, with the penalties of a
    beam search. `log_probability` sums that of its tokens, the end token's included.

    `alignment` is tokens x source tokens, the mean over heads; both lists end in the end token,
    except a hypothesis that ran into its length limit. `ids` are those of the tokens: a word that
    is written as a special token is none.
    """

    text: str
    score: float
    log_probability: float
    tokens: list[str]
    source_tokens: list[str]
    alignment: np.ndarray
    ids: list[int]


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


@contextlib.contextmanager
def _uncollected() -> Generator[None, None, None]:
    """Without Python's garbage collector: a search makes many small objects and no cycles among
    them, and for so many the collector walks through all that JAX holds, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _on_cores(search: Callable[..., Hypotheses], *, of_rows: int) -> Callable[..., Hypotheses]:
    """The search, whose rows the cores of a CPU share where that pays: no row needs another.

    `of_rows` arguments after the parameters have an entry for each row.
    """

    def shared(params, *arguments, **static) -> Hypotheses:
        rows = len(arguments[0])
        mesh = data_mesh(rows, cores_for(params, rows))
        whole, own = replicated(mesh), shared_out(mesh)
        inputs = [whole] + [own] * of_rows + [whole] * (len(arguments) - of_rows)
        return on_each(search, inputs, own)(params, *arguments, **static)

    return shared


class Translator:
    """Translates any number of sources with one model, or with an ensemble.

    `params`, given at the call, has the parameters of each of `graphdefs`. `temperature` of the
    attention: each model's own if None, else traced.
    """

    def __init__(
        self,
        graphdefs: Sequence[nnx.GraphDef],
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

        def predictor(params) -> Predictor:
            models = [nnx.merge(*pair) for pair in zip(graphdefs, params, strict=True)]
            return Predictor(models, evaluation.unknown)

        @partial(jax.jit, static_argnames="positions")
        @partial(_on_cores, of_rows=2)
        def _greedy(params, source_BS, limit_B, temperature, *, positions):
            return greedy(predictor(params), source_BS, limit_B, temperature, positions=positions)

        @partial(jax.jit, static_argnames=("positions", "beam", "best", "ngram"))
        @partial(_on_cores, of_rows=2)
        def _beam(params, source_BS, limit_B, ranking, temperature, **static):
            return beam_search(
                predictor(params), source_BS, limit_B, ranking, temperature, **static
            )

        @partial(jax.jit, static_argnames="positions")
        @partial(_on_cores, of_rows=3)
        def _sample(params, source_BS, limit_B, place_B2, sampling, key, temperature, *, positions):
            fold_in = jax.vmap(jax.random.fold_in)
            key_B = jnp.broadcast_to(key, len(place_B2))
            for place_B in place_B2.T:  # the line, then the number of its draw
                key_B = fold_in(key_B, place_B)
            return sample(
                predictor(params),
                source_BS,
                limit_B,
                sampling,
                key_B,
                temperature,
                positions=positions,
            )

        self._greedy, self._beam, self._sample = _greedy, _beam, _sample

    def limit(self, words: int) -> int:
        """Tokens that a hypothesis for a source of so many words may have; none for no words."""
        if not words:
            return 0
        return int(round(self.factor * words, 6)) + self.extra  # 1.15 * 100 is 114.99999999999999

    def __call__(
        self, params: Sequence[Any], sources: Sequence[Sequence[int] | np.ndarray]
    ) -> list[Translation]:
        """The greedy translation of each source, in the order asked."""
        return [one for (one,) in self.search(params, sources)]

    def search(
        self,
        params: Sequence[Any],
        sources: Sequence[Sequence[int] | np.ndarray],
        strategy: BeamSearch | Sample | None = None,
        first: int = 0,
    ) -> list[list[Translation]]:
        """Translations of each source (ids that end in EOS), in the order asked.

        Best first of a beam search, of which at least one is always there; as they were drawn of
        sampling; one of greedy search (None). `first` is the place of the first source in the
        whole input, by which sampling draws.
        """
        draws = strategy.draws if isinstance(strategy, Sample) else 1
        sources = [source for source in sources for _ in range(draws)]
        # Longest with longest; of an empty source nothing is asked.
        some = [i for i, source in enumerate(sources) if self.limit(len(source) - 1)]
        order = sorted(some, key=lambda i: len(sources[i]))
        limits = [self.limit(len(sources[i]) - 1) for i in order]
        rows = min(self.batch_size, 1 << max(len(order) - 1, 0).bit_length())
        chunks = [(order[cut.start : cut.end], cut.rows) for cut in cut_batches(limits, rows)]
        nothing = Translation("", 0.0, 0.0, [], [SPECIALS[EOS]], np.zeros((0, 1)), [])
        results = {i: [nothing] for i in set(range(len(sources))) - set(some)}
        searches = (
            (chunk, self._begin(params, sources, chunk, rows, strategy, first))
            for chunk, rows in chunks
        )
        with _uncollected():
            # A search is under way while the texts of the one before are made.
            for chunk, found in _one_ahead(searches):
                of_chunk = self._translations([sources[i] for i in chunk], found)
                results |= zip(chunk, of_chunk, strict=True)
            return [
                [one for i in range(start, start + draws) for one in results[i]]
                for start in range(0, len(sources), draws)
            ]

    def _begin(self, params, sources, chunk: Sequence[int], rows: int, strategy, first: int):
        """Starts the search for one batch, filled up to `rows`; nothing waits for its end."""
        width = _round_up(max(len(sources[i]) for i in chunk), WIDTH_STEP)
        length_B, limit_B = np.zeros((2, rows), np.int32)
        length_B[: len(chunk)] = [len(sources[i]) for i in chunk]
        limit_B[: len(chunk)] = [self.limit(len(sources[i]) - 1) for i in chunk]
        source_BS = np.full((rows, width), PAD, np.int32)
        source_BS[np.arange(width) < length_B[:, None]] = np.concatenate(
            [sources[i] for i in chunk]
        )
        params, positions = tuple(params), self.limit(width)
        if strategy is None:
            return self._greedy(params, source_BS, limit_B, self.temperature, positions=positions)
        if isinstance(strategy, Sample):
            place_B2 = np.zeros((rows, 2), np.int32)
            place_B2[: len(chunk)] = [divmod(i, strategy.draws) for i in chunk]
            place_B2[: len(chunk), 0] += first
            return self._sample(
                params,
                source_BS,
                limit_B,
                place_B2,
                strategy.sampling(),
                jax.random.key(strategy.seed),
                self.temperature,
                positions=positions,
            )
        return self._beam(
            params,
            source_BS,
            limit_B,
            strategy.ranking(),
            self.temperature,
            positions=positions,
            beam=strategy.size,
            best=strategy.n_best,
            ngram=strategy.block_ngrams,
        )

    def _translations(self, sources, found: Hypotheses) -> list[list[Translation]]:
        # Whole arrays become lists at once, which number by number takes longer.
        *numbers, alignment_BNTS = jax.device_get(found)
        rows = zip(*(array.tolist() for array in numbers), alignment_BNTS, strict=True)
        return [
            [
                self._translation(source, *hypothesis)
                for n, hypothesis in enumerate(zip(*row, strict=True))
                if n == 0 or math.isfinite(hypothesis[1])
            ]
            for source, row in zip(sources, rows, strict=False)
        ]

    def _translation(self, source_ids, ids, score, log_p, alignment_TS) -> Translation:
        # Up to the end token, itself included; a hypothesis cut by its limit has none.
        length = ids.index(EOS) + 1 if EOS in ids else len(ids) - ids.count(PAD)
        ids, source_ids = ids[:length], np.asarray(source_ids).tolist()
        return Translation(
            self.target.decode(ids),
            score,
            log_p,
            [self.target.tokens[i] for i in ids],
            [self.source.tokens[i] for i in source_ids],
            alignment_TS[:length, : len(source_ids)],
            ids,
        )
