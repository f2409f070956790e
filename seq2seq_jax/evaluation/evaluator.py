"""Scores of one set of parameters on one split.

Modes: `forced` feeds the reference and gives loss, perplexity, token accuracy and how the model
attends: diagnostics of the alignment, and its agreement with gold links where these are known;
`free` feeds the model's own likeliest tokens and scores the reference, position by position, which
shows the exposure gap; `greedy` and `beam` translate and compare texts; the metrics of `beam` end
in `_beam`. Only `forced` feeds gold.
"""

import copy
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
from seq2seq_jax.decoding.strategies import BeamSearch
from seq2seq_jax.decoding.translate import Translation, Translator
from seq2seq_jax.evaluation.alignment import GoldSums, gold_metrics, gold_sums
from seq2seq_jax.evaluation.diagnostics import alignment_sums, diagnostics
from seq2seq_jax.evaluation.metrics import corpus_scores
from seq2seq_jax.training.losses import cross_entropy
from seq2seq_jax.training.teacher_forcing import unroll, unroll_forced
from seq2seq_jax.types import PAD, Batch, InputError, Pair

MODES = CHOICES["evaluation.modes"]
SUFFIXES = {"greedy": "", "beam": "_beam"}  # of the metrics of translations


class Evaluation(NamedTuple):
    """Metrics by name, without the split, and the translations of each mode that makes some."""

    metrics: dict[str, float]
    translations: dict[str, list[Translation]]


class Evaluator:
    """Compiles each mode once a batch shape; parameters come with the call.

    `shapes` are the batch shapes of training, so that evaluation adds as few as it can. The
    attention's temperature is the model's own while `temperature` is None, else traced.
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
            tokens = cross_entropy(unrolled.readout_BTH, output, batch.target_BT)
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

    def __call__(self, params, split: str, modes: Sequence[str], limit: int = 0) -> Evaluation:
        """Scores the first `limit` examples of `split` (0: all). Raises InputError."""
        if unknown := [mode for mode in modes if mode not in MODES]:
            raise InputError(f"unknown evaluation mode {unknown[0]}; there are {', '.join(MODES)}")
        encoded, pairs = _first(self.data, split, limit)
        metrics: dict[str, float] = {}
        if "forced" in modes:
            metrics |= self._sums(params, encoded, pairs, forced=True)
        if "free" in modes:
            free = self._sums(params, encoded, pairs, forced=False)
            metrics |= {f"{name}_free": free[name] for name in ("loss", "perplexity")}
        searches = searches_of(self.evaluation, modes)
        found = score_searches(self.translator, [params], self.data, split, searches, limit)
        return Evaluation(metrics | found.metrics, found.translations)

    def _sums(self, params, encoded: Encoded, pairs, *, forced: bool) -> dict[str, float]:
        shapes = self._shapes(lengths(encoded.source, encoded.target))
        batches = Batches(encoded.source, encoded.target, shapes, self.batch_size)
        sums, compared = [], []
        gold = self.aligns and forced and any(pair.alignment for pair in pairs)
        for i in range(len(batches)):
            batch = batches[i]
            parts, alignment_BTNS = self._score(params, batch, self.temperature, forced=forced)
            sums.append(jax.tree.map(np.float64, jax.device_get(parts)))
            if gold:
                found = _compare(np.asarray(alignment_BTNS), batch.index_B, encoded, pairs)
                compared.append(found)
        tokens, attended = jax.tree.map(lambda *parts: np.sum(parts, axis=0), *sums)
        loss = float(tokens.loss / tokens.tokens)
        metrics = {"loss": loss, "perplexity": _perplexity(loss)}
        metrics["token_accuracy"] = float(tokens.correct / tokens.tokens)
        if attended is not None:
            metrics |= diagnostics(attended)
        if gold:
            metrics |= gold_metrics(compared)
        return metrics

    def _shapes(self, lengths_N2) -> tuple:
        """The shapes of training, and one more where an example is longer than all of them."""
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
) -> Evaluation:
    """Translations of the first `limit` examples of a split (0: all), and what they score."""
    encoded, pairs = _first(data, split, limit)
    metrics: dict[str, float] = {}
    translations: dict[str, list[Translation]] = {}
    for mode, strategy in searches.items():
        found = translator.search(params, encoded.source, strategy)
        translations[mode] = [best for best, *_ in found]
        references = [data.target.normalize_text(pair.target) for pair in pairs]
        scores = corpus_scores([best.text for best in translations[mode]], references)
        metrics |= {name + SUFFIXES[mode]: value for name, value in scores.items()}
    return Evaluation(metrics, translations)


def _first(data: Data, split: str, limit: int) -> tuple[Encoded, list[Pair]]:
    """The first `limit` examples of a split (0: all). Raises InputError where there is none."""
    encoded, pairs = data.encoded[split], getattr(data.pairs, split)
    if not len(encoded):
        raise InputError(f"the {split} split is empty; set data.{split} or data.{split}_size")
    if not limit:
        return encoded, pairs
    return Encoded(encoded.source[:limit], encoded.target[:limit]), pairs[:limit]


def _compare(
    alignment_BTNS: np.ndarray, index_B: np.ndarray, encoded: Encoded, pairs: Sequence[Pair]
) -> GoldSums:
    """The rows of a batch whose gold links are known."""
    rows = [i for i in np.flatnonzero(index_B >= 0) if pairs[index_B[i]].alignment is not None]
    index_B = index_B[rows]
    # A row ends in the end token, which is no word.
    source_words_B, target_words_B = (
        np.array([len(side[i]) - 1 for i in index_B], np.int64)
        for side in (encoded.source, encoded.target)
    )
    gold = [pairs[i].alignment for i in index_B]
    return gold_sums(alignment_BTNS[rows], source_words_B, target_words_B, gold)


def _perplexity(loss: float) -> float:
    """exp(loss), where a hopeless loss gives infinity instead of a warning."""
    return float(np.exp(min(loss, 700.0)))
