"""Is a cell better than the baseline, or were the test sentences lucky? Paired bootstrap.

Koehn 2004, "Statistical significance tests for machine translation evaluation": draw as many test
sentences as there are, with replacement, the same ones for both systems; score both; repeat.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from seq2seq_jax.evaluation.bootstrap import bootstrap, resampled_scores, resamples
from seq2seq_jax.evaluation.metrics import PREDICTIONS, SUFFIXES
from seq2seq_jax.reports.columns import BEAM
from seq2seq_jax.reports.results import Results
from seq2seq_jax.reports.tested import Tested, tested

METRICS = {  # -> the counts that it is made of
    "exact_match": "matches",
    "bleu": "bleu",
    "chrf": "chrf",
    "ter": "ter",
    "token_error_rate": "edits",
    "sequence_error_rate": "matches",
}
SLOW = ("chrf", "ter")  # to count
OTHER_SENTENCES = "tested on other sentences"
DIFFERENT_SENTENCES = "the baseline's seeds were tested on different sentences"
NO_BASELINE = "the baseline has no finished run"


class Comparison(NamedTuple):
    """One metric of a cell minus that of the baseline, each the mean over its seeds.

    low, high: 95% interval of the difference over resampled test sentences. p: two-sided, the share
    of resamples in which the difference has not the sign it usually has, times two. The interval
    and p tell of the choice of test sentences alone, not of the seeds, and p is not corrected for
    the number of comparisons.
    """

    cell: str
    metric: str
    difference: float
    low: float
    high: float
    p: float


def compare_with_baseline(results: Results, columns: Sequence[str] = ()) -> list[Comparison]:
    """Every cell against the baseline, from the predictions of all finished seeds: greedy ones,
    and where both have some, those of beam search, whose metrics end in _beam.

    In all METRICS; in those that are SLOW where they are among the table's `columns`, of either.
    Cells without predictions are left out, and so are those of which some finished seed has none
    (the table's mean is of all seeds) and those that were tested on other sentences than the
    baseline; `results.not_compared` gets the first reason.
    """
    shown = {metric.removesuffix(BEAM) for metric in columns}
    metrics = [metric for metric in METRICS if metric not in SLOW or metric in shown]
    return [item for mode in PREDICTIONS for item in _compare(results, mode, metrics)]


def not_comparable(results: Results, cell: str) -> bool:
    """Whether nothing of a cell is to be compared with the baseline: there are no scores, or they
    are of other sentences. Without some predictions the scores over seeds still are."""
    return results.not_compared.get(cell) in (OTHER_SENTENCES, DIFFERENT_SENTENCES, NO_BASELINE)


def _compare(results: Results, mode: str, metrics: Sequence[str]) -> list[Comparison]:
    found = {cell: tested(results, cell, mode) for cell in results.cells}
    baseline = found.pop(results.baseline)
    others = {cell: seeds for cell, seeds in found.items() if seeds}
    if not results.finished(results.baseline):
        results.not_compared.update(dict.fromkeys(others, NO_BASELINE))
    if not baseline or not others:
        return []
    of_mode = " of beam search" * (mode == "beam")
    if not _complete(results, results.baseline, baseline):
        reason = f"the baseline's seeds do not all have predictions{of_mode}"
        results.not_compared.update(dict.fromkeys(others, reason) | results.not_compared)
        return []
    sentences = baseline[0].sentences
    if any(seed.sentences != sentences for seed in baseline):
        results.not_compared.update(dict.fromkeys(others, DIFFERENT_SENTENCES))
        return []
    times = list(resamples(len(sentences)))
    reference = _mean_scores(baseline, times, metrics)
    comparisons = []
    for cell, seeds in others.items():
        if not _complete(results, cell, seeds):
            results.not_compared.setdefault(cell, f"not every seed has predictions{of_mode}")
            continue
        if any(seed.sentences != sentences for seed in seeds):
            results.not_compared[cell] = OTHER_SENTENCES
            continue
        scores = _mean_scores(seeds, times, metrics)
        for metric in metrics:
            observed, *differences = (scores[metric] - reference[metric]).tolist()
            low, high, p = bootstrap(np.array(differences))
            comparisons.append(Comparison(cell, metric + SUFFIXES[mode], observed, low, high, p))
    return comparisons


def _complete(results: Results, cell: str, seeds: list[Tested]) -> bool:
    return len(seeds) == len(results.finished(cell))


def _mean_scores(
    seeds: list[Tested], times: list[Float[np.ndarray, " N"]], metrics: Sequence[str]
) -> dict[str, Float[np.ndarray, " R"]]:
    """Scores on the resamples, averaged over seeds: the same quantity as in the table."""
    counts = list(dict.fromkeys(METRICS[metric] for metric in metrics))
    scores = [resampled_scores(seed.statistics(counts), times) for seed in seeds]
    return {metric: np.mean([score[metric] for score in scores], axis=0) for metric in metrics}
