"""Scores of one set of parameters on one split.

Modes: `forced` feeds the reference and gives loss, perplexity, token accuracy and the alignment
error rate; `free` feeds the model's own likeliest tokens and scores the reference, position by
position, which shows the exposure gap; `greedy` translates and compares texts. Only `forced` feeds
gold.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from seq2seq_jax.data import Data, Encoded
from seq2seq_jax.data.batching import Batches, choose_buckets, lengths
from seq2seq_jax.decoding.translate import Translation, Translator
from seq2seq_jax.evaluation.alignment import aer_counts, alignment_error_rate, hard_links
from seq2seq_jax.evaluation.metrics import corpus_scores
from seq2seq_jax.training.losses import cross_entropy
from seq2seq_jax.training.teacher_forcing import unroll, unroll_forced
from seq2seq_jax.types import Batch, InputError

MODES = ("forced", "free", "greedy")


class Evaluation(NamedTuple):
    """Metrics by name, without the split; the translations where the mode was `greedy`."""

    metrics: dict[str, float]
    translations: list[Translation]


class Evaluator:
    """Compiles each mode once a batch shape; parameters come with the call.

    `shapes` are the batch shapes of training, so that evaluation adds as few as it can.
    """

    def __init__(self, config, graphdef: nnx.GraphDef, data: Data, shapes: Sequence):
        self.data = data
        self.shapes = tuple(shapes)
        self.batch_size = config.evaluation.batch_size
        self.aligns = config.model.attention.score != "none"
        self.translator = Translator(graphdef, data.source, data.target, config.evaluation)

        @partial(jax.jit, static_argnames="forced")
        def score(params, batch: Batch, forced: bool):
            model = nnx.merge(graphdef, params)
            state, source = model.decoder.start(model.encoder(batch.source_BS))
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
            sums = cross_entropy(model.decoder.logits(unrolled.readout_BTH), batch.target_BT)
            return sums, unrolled.alignment_BTS

        self._score = score

    def __call__(self, params, split: str, modes: Sequence[str], limit: int = 0) -> Evaluation:
        """Scores the first `limit` examples of `split` (0: all). Raises InputError."""
        if unknown := [mode for mode in modes if mode not in MODES]:
            raise InputError(f"unknown evaluation mode {unknown[0]}; there are {', '.join(MODES)}")
        encoded, pairs = self.data.encoded[split], getattr(self.data.pairs, split)
        if not len(encoded):
            raise InputError(f"the {split} split is empty; set data.{split} or data.{split}_size")
        if limit:
            encoded, pairs = Encoded(encoded.source[:limit], encoded.target[:limit]), pairs[:limit]
        metrics: dict[str, float] = {}
        translations: list[Translation] = []
        if "forced" in modes:
            metrics |= self._sums(params, encoded, pairs, forced=True)
        if "free" in modes:
            free = self._sums(params, encoded, pairs, forced=False)
            metrics |= {f"{name}_free": free[name] for name in ("loss", "perplexity")}
        if "greedy" in modes:
            translations = self.translator(params, encoded.source)
            references = [self.data.target.normalize_text(pair.target) for pair in pairs]
            metrics |= corpus_scores([found.text for found in translations], references)
        return Evaluation(metrics, translations)

    def _sums(self, params, encoded: Encoded, pairs, *, forced: bool) -> dict[str, float]:
        shapes = self._shapes(lengths(encoded.source, encoded.target))
        batches = Batches(encoded.source, encoded.target, shapes, self.batch_size)
        totals = np.zeros(4)
        links = np.zeros(3, np.int64)
        gold = self.aligns and forced and any(pair.alignment for pair in pairs)
        for i in range(len(batches)):
            batch = batches[i]
            sums, alignment_BTS = self._score(params, batch, forced=forced)
            totals += np.array(jax.device_get(tuple(sums)), np.float64)
            if gold:
                alignment_BTS = np.asarray(alignment_BTS)
                for row, index in enumerate(batch.index_B):
                    if index >= 0 and pairs[index].alignment is not None:
                        words = len(encoded.source[index]) - 1, len(encoded.target[index]) - 1
                        found = hard_links(alignment_BTS[row], *words)
                        links += aer_counts(found, pairs[index].alignment)
        _, loss, correct, _ = totals / totals[3]
        metrics = {"loss": loss, "perplexity": _perplexity(loss), "token_accuracy": correct}
        if gold:
            metrics["aer"] = alignment_error_rate(*(int(count) for count in links))
        return {name: float(value) for name, value in metrics.items()}

    def _shapes(self, lengths_N2) -> tuple:
        """The shapes of training, and one more where an example is longer than all of them."""
        outside_N = ~np.any([(lengths_N2 <= shape).all(axis=1) for shape in self.shapes], axis=0)
        if not outside_N.any():
            return self.shapes
        return (*self.shapes, *choose_buckets(lengths_N2[outside_N], 1))


def _perplexity(loss: float) -> float:
    """exp(loss), where a hopeless loss gives infinity instead of a warning."""
    return float(np.exp(min(loss, 700.0)))
