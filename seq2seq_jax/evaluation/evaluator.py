"""Scores of one set of parameters on one split.

Modes: `forced` feeds the reference and gives loss, perplexity, token accuracy and how the model
attends: diagnostics of the alignment, and its agreement with gold links where these are known;
`free` feeds the model's own likeliest tokens and scores the reference, position by position, which
shows the exposure gap; `greedy` and `beam` translate and compare texts; the metrics of `beam` end
in `_beam`. Only `forced` feeds gold.
"""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seq2seq_jax.config_checks import CHOICES
from seq2seq_jax.data import Data, Encoded
from seq2seq_jax.data.batching import Batches, choose_buckets, lengths
from seq2seq_jax.data.links import word_sizes
from seq2seq_jax.decoding.strategies import BeamSearch
from seq2seq_jax.decoding.translate import Translation, Translator
from seq2seq_jax.decoding.unknown import replace_unknown
from seq2seq_jax.evaluation.alignment import by_word, gold_counts
from seq2seq_jax.evaluation.diagnostics import alignment_sums, diagnostics
from seq2seq_jax.evaluation.metrics import (
    QUICK,
    SUFFIXES,
    References,
    Statistics,
    scores,
    sentence_statistics,
    total,
)
from seq2seq_jax.training.losses import sentence_sums
from seq2seq_jax.training.teacher_forcing import unroll, unroll_forced
from seq2seq_jax.types import PAD, Batch, InputError, Pair

MODES = CHOICES["evaluation.modes"]


class Evaluation(NamedTuple):
    """What was found of the sentences of a split.

    `statistics` are what metrics are made of, sentence by sentence: by the ending of the metrics'
    names ("", "_free" or "_beam"), then by the counts' names. `translations` are those of each mode
    that makes some. `diagnostics` tell how the model attends.
    """

    statistics: dict[str, Statistics]
    translations: dict[str, list[Translation]]
    diagnostics: dict[str, float]

    @property
    def metrics(self) -> dict[str, float]:
        """By name, without the split."""
        found = {
            f"{name}{ending}": value
            for ending, part in self.statistics.items()
            for name, value in scores(total(part)).items()
        }
        return found | self.diagnostics


class Evaluator:
    """Compiles each mode once a batch shape; parameters come with the call.

    `shapes`: those of the batches that are scored, one more where an example is longer than all of
    them. The attention's temperature is the model's own while `temperature` is None, else traced.
    """

    def __init__(self, config, graphdef: nnx.GraphDef, data: Data, shapes: Sequence):
        self.data = data
        self.shapes = tuple(shapes)
        self.batch_size = config.evaluation.batch_size
        self.aligns = aligns = config.model.attention.score != "none"
        self.temperature: np.float32 | None = None
        self.evaluation = config.evaluation
        self.translator = Translator([graphdef], data.source, data.target, config.evaluation)

        @partial(jax.jit, static_argnames="forced")
        def score(params, batch: Batch, temperature, forced: bool):
            model = nnx.merge(graphdef, params)
            positions = batch.target_BT.shape[1]
            memory = model.encoder(batch.source_BS)
            state, source = model.decoder.start(memory, temperature, positions=positions)
            if forced:
                unrolled = unroll_forced(model.decoder, state, source, batch.target_BT)
            else:
                unrolled = unroll(
                    model.decoder,
                    state,
                    source,
                    batch.target_BT,
                    jnp.float32(0),
                    jax.random.key(0),  # argmax draws nothing
                    batch.index_B,
                )
            output = model.decoder.output_layer()
            tokens = sentence_sums(unrolled.readout_BTH, output, batch.target_BT)
            if not (forced and aligns):
                return (tokens, None), None
            valid_BS = batch.source_BS != PAD
            attended = alignment_sums(unrolled.alignment_BTNS, valid_BS, batch.target_BT)
            return (tokens, attended), unrolled.alignment_BTNS

        self._score = score

    def at(self, temperature: float) -> "Evaluator":
        """The same programs for a model that differs in the temperature of its attention."""
        other = copy.copy(self)
        other.translator = copy.copy(self.translator)
        other.temperature = other.translator.temperature = np.float32(temperature)
        return other

    def __call__(
        self,
        params,
        split: str,
        modes: Sequence[str],
        limit: int = 0,
        counts: Sequence[str] = QUICK,
        *,
        replaces: bool = False,
    ) -> Evaluation:
        """Scores the first `limit` examples of `split` (0: all). Raises InputError.

        `counts` of `metrics.TEXT_COUNTS`: what is compared of texts. With `replaces`, each <unk>
        of a translation is replaced first.
        """
        if split not in self.data.encoded:
            splits = ", ".join(self.data.encoded)
            raise InputError(f"split={split!r}: there is no such split; there are {splits}")
        if isinstance(modes, str):
            raise InputError(f"modes={modes!r}: a list of modes is wanted, [{modes!r}]")
        if unknown := [mode for mode in modes if mode not in MODES]:
            raise InputError(f"unknown evaluation mode {unknown[0]}; there are {', '.join(MODES)}")
        encoded, pairs = _first(self.data, split, limit)
        attended: dict[str, float] = {}
        statistics: defaultdict[str, dict] = defaultdict(dict)
        if "forced" in modes:
            forced, attended = self._tokens(params, encoded, pairs, forced=True)
            statistics[""] |= forced
        if "free" in modes:
            free, _ = self._tokens(params, encoded, pairs, forced=False)
            statistics["_free"] |= {"nats": free["nats"]}
        searches = searches_of(self.evaluation, modes)
        found = score_searches(
            self.translator, [params], self.data, split, searches, limit, counts, replaces=replaces
        )
        for ending, part in found.statistics.items():
            statistics[ending] |= part
        return Evaluation(dict(statistics), found.translations, attended)

    def _tokens(
        self, params, encoded: Encoded, pairs: Sequence[Pair], *, forced: bool
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """What each example's tokens add up to, and how the model attends."""
        shapes = self._shapes(lengths(encoded.source, encoded.target))
        batches = Batches(encoded.source, encoded.target, shapes, self.batch_size)
        gold = self.aligns and forced and any(pair.alignment for pair in pairs)
        found = {name: np.zeros((len(encoded), 2)) for name in ("nats", "correct")}
        attended, links = [], []
        for i in range(len(batches)):
            batch = batches[i]
            parts, alignment_BTNS = self._score(params, batch, self.temperature, forced=forced)
            tokens, sums = jax.tree.map(np.float64, jax.device_get(parts))
            attended.append(sums)
            real_B = batch.index_B >= 0
            index_I = batch.index_B[real_B]
            for name, part_B in (("nats", tokens.loss), ("correct", tokens.correct)):
                found[name][index_I] = np.stack([part_B, tokens.tokens], axis=1)[real_B]
            if gold:
                alignment_BTNS = np.asarray(alignment_BTNS)
                links.append(_compare(alignment_BTNS, batch.index_B, self.data, encoded, pairs))
        if gold:
            rows, counts = zip(*links, strict=True)
            found["links"] = np.zeros((len(encoded), counts[0].shape[1]))
            found["links"][np.concatenate(rows)] = np.concatenate(counts)
        if attended[0] is None:
            return found, {}
        return found, diagnostics(jax.tree.map(lambda *parts: np.sum(parts, axis=0), *attended))

    def _shapes(self, lengths_N2) -> tuple:
        outside_N = ~np.any([(lengths_N2 <= shape).all(axis=1) for shape in self.shapes], axis=0)
        if not outside_N.any():
            return self.shapes
        return (*self.shapes, *choose_buckets(lengths_N2[outside_N], 1))


def searches_of(evaluation, modes: Sequence[str]) -> dict[str, BeamSearch | None]:
    """mode -> how it searches, of the modes that do."""
    searches = {"greedy": None, "beam": BeamSearch.of(evaluation)}
    return {mode: strategy for mode, strategy in searches.items() if mode in modes}


def score_searches(
    translator: Translator,
    params: Sequence,
    data: Data,
    split: str,
    searches: Mapping[str, BeamSearch | None],
    limit: int = 0,
    counts: Sequence[str] = QUICK,
    *,
    replaces: bool = False,
) -> Evaluation:
    """Translations of the first `limit` examples of a split (0: all), and what they score.

    With `replaces`, each <unk> has become the source word that was attended most.
    """
    encoded, pairs = _first(data, split, limit)
    statistics: dict[str, Statistics] = {}
    translations: dict[str, list[Translation]] = {}
    for mode, strategy in searches.items():
        found = translator.search(params, encoded.source, strategy)
        translations[mode] = [best for best, *_ in found]
        if replaces:
            words = [data.source.tokenize(pair.source) for pair in pairs]
            translations[mode] = [
                replace_unknown(best, tokens, data.target, {})
                for best, tokens in zip(translations[mode], words, strict=True)
            ]
        texts = [best.text for best in translations[mode]]
        references = references_of(data, pairs)
        statistics[SUFFIXES[mode]] = sentence_statistics(texts, references, counts)
    return Evaluation(statistics, translations, {})


def references_of(data: Data, pairs: Sequence[Pair]) -> References:
    """All references of each pair, in the form that a translation would have."""
    normalize = data.target.normalize_text
    return [tuple(dict.fromkeys(map(normalize, pair.references))) for pair in pairs]


def _first(data: Data, split: str, limit: int) -> tuple[Encoded, list[Pair]]:
    """The first `limit` examples of a split (0: all)."""
    encoded, pairs = data.encoded[split], getattr(data.pairs, split)
    if not limit:
        return encoded, pairs
    return Encoded(encoded.source[:limit], encoded.target[:limit]), pairs[:limit]


def _compare(
    alignment_BTNS: np.ndarray,
    index_B: np.ndarray,
    data: Data,
    encoded: Encoded,
    pairs: Sequence[Pair],
) -> tuple[np.ndarray, np.ndarray]:
    """The examples of a batch whose gold links are known, and their `gold_counts`."""
    rows = [i for i in np.flatnonzero(index_B >= 0) if pairs[index_B[i]].alignment is not None]
    index_I = index_B[rows]
    words_I2 = np.zeros((len(rows), 2), np.int64)
    alignment_IWNV = np.zeros((len(rows), *alignment_BTNS.shape[1:]))
    for found_WNV, words_2, row, i in zip(alignment_IWNV, words_I2, rows, index_I, strict=True):
        source = word_sizes(data.source, pairs[i].source, len(encoded.source[i]) - 1)
        target = word_sizes(data.target, pairs[i].target, len(encoded.target[i]) - 1)
        words_2[:] = len(source), len(target)
        found_WNV[: len(target) + 1, :, : len(source) + 1] = by_word(
            alignment_BTNS[row], target, source
        )
    gold = [pairs[i].alignment for i in index_I]
    possible = [pairs[i].possible for i in index_I]
    return index_I, gold_counts(alignment_IWNV, *words_I2.T, gold, possible)
