"""Is a cell better than the baseline, or were the test sentences lucky? Paired bootstrap.

Koehn 2004, "Statistical significance tests for machine translation evaluation": draw as many test
sentences as there are, with replacement, the same ones for both systems; score both; repeat.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from seq2seq_jax.evaluation.bootstrap import bootstrap, resampled_scores, resamples
from seq2seq_jax.evaluation.metrics import (
    PREDICTIONS,
    SUFFIXES,
    Statistics,
    sentence_statistics,
)
from seq2seq_jax.reports.results import Results, references_of

METRICS = ("exact_match", "bleu", "token_error_rate")
COUNTS = ("matches", "bleu", "edits")  # what these are made of


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


class System(NamedTuple):
    """Translations of a test set, as the counts that the metrics are sums of."""

    sentences: list[tuple[int, str, tuple[str, ...]]]  # index, source, references
    statistics: Statistics


def compare_with_baseline(results: Results) -> list[Comparison]:
    """Every cell against the baseline, from the predictions of all finished seeds: greedy ones,
    and where both have some, those of beam search, whose metrics end in _beam.

    Cells without finished seeds are left out, and so are those that were tested on other sentences
    than the baseline; the latter is noted in `results.problems`.
    """
    return [item for mode in PREDICTIONS for item in _compare(results, mode)]


def _compare(results: Results, mode: str) -> list[Comparison]:
    systems = {cell: _systems(results, cell, mode) for cell in results.cells}
    baseline = systems.pop(results.baseline)
    if not baseline or not any(systems.values()):
        return []
    sentences = baseline[0].sentences
    times = list(resamples(len(sentences)))
    same = [system for system in baseline if system.sentences == sentences]
    reference = _mean_scores(same, times)
    comparisons = []
    for cell, seeds in systems.items():
        if len(same) < len(baseline) or any(system.sentences != sentences for system in seeds):
            results.problems.append(
                f"{cell} was tested on other sentences than {results.baseline}: not compared"
            )
        elif seeds:
            scores = _mean_scores(seeds, times)
            for metric in METRICS:
                observed, *differences = (scores[metric] - reference[metric]).tolist()
                low, high, p = bootstrap(np.array(differences))
                name = metric + SUFFIXES[mode]
                comparisons.append(Comparison(cell, name, observed, low, high, p))
    return comparisons


def _systems(results: Results, cell: str, mode: str) -> list[System]:
    """One for every finished seed with predictions of this mode."""
    systems, name = [], f"test{PREDICTIONS[mode]}"
    for seed in results.finished(cell):
        lines = sorted(results.predictions(cell, seed, name), key=lambda line: line["index"])
        if lines:
            hypotheses = [line["hypothesis"] for line in lines]
            references = [references_of(line) for line in lines]
            sentences = [(line["index"], line["source"], references_of(line)) for line in lines]
            statistics = sentence_statistics(hypotheses, references, COUNTS)
            systems.append(System(sentences, statistics))
    return systems


def _mean_scores(
    seeds: list[System], times: list[Float[np.ndarray, " N"]]
) -> dict[str, Float[np.ndarray, " R"]]:
    """Scores on the resamples, averaged over seeds: the same quantity as in the table."""
    scores = [resampled_scores(system.statistics, times) for system in seeds]
    return {metric: np.mean([score[metric] for score in scores], axis=0) for metric in METRICS}
