"""Scores by the length of the source: Bahdanau et al. (2015), figure 2."""

from collections.abc import Sequence

import numpy as np

from seq2seq_jax.evaluation.metrics import Statistics, scores
from seq2seq_jax.types import EOS, SPECIALS

BINS = 8
METRICS = ("exact_match", "bleu", "token_error_rate")
COUNTS = ("matches", "bleu", "edits")  # what these are made of


def length_bins(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Bins (least, greatest) of equal, round width, at most BINS, that hold all lengths."""
    widths = [step * 10**power for power in range(7) for step in (1, 2, 5)]
    for width in widths:
        first, last = (min(lengths) - 1) // width, (max(lengths) - 1) // width
        if last - first < BINS:
            break
    return [(i * width + 1, (i + 1) * width) for i in range(first, last + 1)]


def source_words(source_tokens: Sequence[str]) -> int:
    """The tokens of a source without its end token."""
    return len(source_tokens) - (list(source_tokens[-1:]) == [SPECIALS[EOS]])


def scores_in_bins(
    statistics: Statistics, words: Sequence[int], bins: Sequence[tuple[int, int]]
) -> list[dict[str, float]]:
    """METRICS of the sentences in each bin; nan where they say nothing.

    That is in a bin without sentences, and for BLEU where no hypothesis has four tokens in a row.
    """
    words_N = np.asarray(words)
    found = []
    for low, high in bins:
        inside_N = (low <= words_N) & (words_N <= high)
        sums = {name: statistics[name][inside_N].sum(axis=0) for name in COUNTS}
        values = dict.fromkeys(METRICS, float("nan"))
        if inside_N.any():
            values = {metric: value for metric, value in scores(sums).items() if metric in METRICS}
        *_, four_grams = sums["bleu"]
        found.append(values if four_grams else values | {"bleu": float("nan")})
    return found


def by_length(statistics: Statistics, words: Sequence[int]) -> list[dict]:
    """A line for each bin that has sentences: `words` [least, greatest], how many `sentences`, and
    METRICS, None where they say nothing."""
    bins = length_bins(words)
    lines = []
    for (low, high), values in zip(bins, scores_in_bins(statistics, words, bins), strict=True):
        sentences = sum(low <= count <= high for count in words)
        known = {metric: None if np.isnan(value) else value for metric, value in values.items()}
        if sentences:
            lines.append({"words": [low, high], "sentences": sentences} | known)
    return lines
