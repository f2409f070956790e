"""Scores of whole test sets from text: exact match, BLEU and chrF.

BLEU (Papineni et al. 2002) and chrF (Popović 2015) are sacrebleu's (Post 2018) with its default
settings; `signatures` names these, and belongs under every table that shows the scores.
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from seq2seq_jax.types import InputError


@functools.cache
def _bleu() -> BLEU:
    # force: our data sets are often tokenised on purpose, the warning about it would be noise.
    return BLEU(force=True)


@functools.cache
def _chrf() -> CHRF:
    return CHRF()


def corpus_scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Scores of a set of translations: exact_match as a fraction, bleu and chrf from 0 to 100.

    Raises InputError for an empty set or lists of unequal lengths.
    """
    return {
        "exact_match": float(exact_matches(hypotheses, references).mean()),
        "bleu": _bleu().corpus_score(hypotheses, [references]).score,
        "chrf": _chrf().corpus_score(hypotheses, [references]).score,
    }


@functools.cache
def signatures() -> dict[str, str]:
    """sacrebleu's description of how the scores were computed: bleu_signature, chrf_signature."""
    metrics = {"bleu": _bleu(), "chrf": _chrf()}
    for metric in metrics.values():
        metric.corpus_score(["a"], [["a"]])  # the number of references is known after a first use
    return {f"{name}_signature": str(metric.get_signature()) for name, metric in metrics.items()}


def exact_matches(hypotheses: Sequence[str], references: Sequence[str]) -> Bool[np.ndarray, " N"]:
    """Whether each hypothesis is its reference, character by character. Raises InputError."""
    _check(hypotheses, references)
    return np.array([h == r for h, r in zip(hypotheses, references, strict=True)])


def bleu_statistics(hypotheses: Sequence[str], references: Sequence[str]) -> Int[np.ndarray, "N C"]:
    """The counts of each sentence that BLEU is made of; they add up over sentences.

    Columns: n-grams matched (n = 1..4), n-grams proposed (n = 1..4), length of the hypothesis and
    of the reference in tokens. Raises InputError.
    """
    _check(hypotheses, references)
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        score = _bleu().corpus_score([hypothesis], [[reference]])
        rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
    return np.array(rows, dtype=np.int64)


def bleu_from_statistics(sums: Int[np.ndarray, " C"]) -> float:
    """Corpus BLEU, 0 to 100, from the summed rows of `bleu_statistics`."""
    *counts, hypothesis_length, reference_length = (int(value) for value in sums)
    order = len(counts) // 2
    bleu = _bleu()
    return bleu.compute_bleu(
        correct=counts[:order],
        total=counts[order:],
        sys_len=hypothesis_length,
        ref_len=reference_length,
        smooth_method=bleu.smooth_method,
        smooth_value=bleu.smooth_value,
        effective_order=bleu.effective_order,
        max_ngram_order=bleu.max_ngram_order,
    ).score


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references):
        raise InputError(
            f"{len(hypotheses)} hypotheses for {len(references)} references: "
            "scores need one hypothesis for each reference"
        )
    if not hypotheses:
        raise InputError("no sentences to score: the set is empty")
