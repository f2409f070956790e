"""Scores of whole sets, each made of counts that add up over sentences.

So one sum gives the score of a set, of a part of it, or of a resample. BLEU (Papineni et al. 2002),
chrF (Popović 2015) and TER (Snover et al. 2006) are sacrebleu's (Post 2018) with its default
settings; `signatures` names these, and belongs under every table that shows the scores.

A sentence may have several references, all as right as the first:

    exact_match       the hypothesis is any of them, character by character
    bleu              n-grams of any of them; the length of the one that is nearest in length
    chrf              the reference with the best chrF, of equally good ones the first
    ter               the fewest edits, over the mean length of the references
    token_error_rate  edits to the closest reference, over that reference's length
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from seq2seq_jax.evaluation.alignment import gold_metrics
from seq2seq_jax.types import InputError

References = Sequence[tuple[str, ...]]  # of each sentence
Statistics = Mapping[str, Float[np.ndarray, "N C"]]  # counts by their name, a row a sentence
Sums = Mapping[str, Float[np.ndarray, " C"]]

# Modes that translate -> what their metrics' names end in, and their files' after the split.
SUFFIXES = {"greedy": "", "beam": "_beam"}
PREDICTIONS = {"greedy": "", "beam": ".beam"}


@functools.cache
def _sacrebleu(name: str) -> Metric:
    # force: our data sets are often tokenised on purpose, the warning about it would be noise.
    return {"bleu": lambda: BLEU(force=True), "chrf": CHRF, "ter": TER}[name]()


def corpus_scores(
    hypotheses: Sequence[str], references: References, counts: Sequence[str] = ()
) -> dict[str, float]:
    """Scores of a set of translations, from the named counts (by default `QUICK`).

    exact_match and sequence_error_rate = 1 - exact_match as fractions; token_error_rate, 0 for a
    perfect set; bleu and chrf from 0 to 100; ter, 0 for a perfect set, in percent of the words.
    Raises InputError for an empty set, unequal numbers, and a sentence without a reference.
    """
    return scores(total(sentence_statistics(hypotheses, references, counts or QUICK)))


def sentence_statistics(
    hypotheses: Sequence[str], references: References, counts: Sequence[str]
) -> dict[str, Float[np.ndarray, "N C"]]:
    """The named counts (`TEXT_COUNTS`) of each sentence. A reference counts once, however often it
    is there. Raises InputError as `corpus_scores` does."""
    if len(hypotheses) != len(references):
        raise InputError(
            f"{len(hypotheses)} hypotheses for the references of {len(references)} sentences: "
            "scores need one hypothesis for each"
        )
    if not hypotheses:
        raise InputError("no sentences to score: the set is empty")
    if empty := [i for i, own in enumerate(references) if not own]:
        raise InputError(f"sentence {empty[0]} (counted from 0) has no reference")
    once = [tuple(dict.fromkeys(own)) for own in references]
    return {name: np.array(TEXT_COUNTS[name](hypotheses, once), np.float64) for name in counts}


def total(statistics: Statistics) -> dict[str, Float[np.ndarray, " C"]]:
    """The sums over all sentences."""
    return {name: counts_NC.sum(axis=0) for name, counts_NC in statistics.items()}


def scores(sums: Sums) -> dict[str, float]:
    """Metrics by name, from the sums of counts over the sentences of a set."""
    return {
        metric: float(value)
        for name, sums_C in sums.items()
        for metric, value in SCORES[name](sums_C).items()
    }


def signatures(references: References) -> dict[str, str]:
    """sacrebleu's description of how scores against such references are computed.

    bleu_signature, chrf_signature, ter_signature; their `nrefs` is the number of references of a
    sentence, `var` where sentences differ in it.
    """
    numbers = {len(set(own)) for own in references}
    # The number of references is known to a metric after a first use.
    first_use = _streams([tuple(map(str, range(number))) for number in sorted(numbers)])
    found = {}
    for name in ("bleu", "chrf", "ter"):
        metric = _sacrebleu(name)
        metric.corpus_score(["0"] * len(numbers), first_use)
        found[f"{name}_signature"] = str(metric.get_signature())
    return found


def closest(hypothesis: str, references: tuple[str, ...]) -> tuple[int, int]:
    """(edits, tokens of the reference) for the reference that takes the fewest edits.

    Tokens are what white space separates, edits are insertions, deletions and substitutions. Of
    equally close references the longest counts, whose rate is the lowest.
    """
    tokens = hypothesis.split()
    found = [(Levenshtein.distance(tokens, own), len(own)) for own in map(str.split, references)]
    return min(found, key=lambda pair: (pair[0], -pair[1]))


def _matches(hypotheses: Sequence[str], references: References) -> list[tuple[int, int]]:
    """Right, sentences."""
    return [(text in own, 1) for text, own in zip(hypotheses, references, strict=True)]


def _edits(hypotheses: Sequence[str], references: References) -> list[tuple[int, int]]:
    """Edits, tokens of the closest reference."""
    return [closest(text, own) for text, own in zip(hypotheses, references, strict=True)]


def _counts_of(name: str, hypotheses: Sequence[str], references: References) -> list[list]:
    """What sacrebleu adds up; it draws its own resamples from these numbers, too."""
    return _sacrebleu(name)._extract_corpus_statistics(hypotheses, _streams(references))


def _score_of(name: str, sums_C: Float[np.ndarray, " C"]) -> dict[str, float]:
    return {name: _sacrebleu(name)._compute_score_from_stats(sums_C.tolist()).score}


def _streams(references: References) -> list[Any]:
    """sacrebleu's form: the first references of all sentences, the second ones (or None), ..."""
    return list(itertools.zip_longest(*references))


def _exact_match(sums_C: Float[np.ndarray, " C"]) -> dict[str, float]:
    right, sentences = sums_C
    return {
        "exact_match": right / sentences,
        "sequence_error_rate": (sentences - right) / sentences,
    }


def _token_error_rate(sums_C: Float[np.ndarray, " C"]) -> dict[str, float]:
    edits, tokens = sums_C
    return {"token_error_rate": edits / max(tokens, 1)}


def _perplexity(sums_C: Float[np.ndarray, " C"]) -> dict[str, float]:
    """From nats and tokens; that of a hopeless loss is cut at e^700 instead of overflowing."""
    loss = sums_C[0] / sums_C[1]
    return {"loss": loss, "perplexity": np.exp(min(loss, 700.0))}


def _token_accuracy(sums_C: Float[np.ndarray, " C"]) -> dict[str, float]:
    correct, tokens = sums_C
    return {"token_accuracy": correct / tokens}


TEXT_COUNTS: dict[str, Callable] = {
    "matches": _matches,
    "edits": _edits,
    **{name: functools.partial(_counts_of, name) for name in ("bleu", "chrf", "ter")},
}
QUICK = ("matches", "edits", "bleu", "chrf")  # TER takes longer than all others together
SCORES: dict[str, Callable] = {
    "nats": _perplexity,
    "correct": _token_accuracy,
    "links": gold_metrics,
    "matches": _exact_match,
    "edits": _token_error_rate,
    **{name: functools.partial(_score_of, name) for name in ("bleu", "chrf", "ter")},
}
