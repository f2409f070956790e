"""Is a cell better than the baseline, or were the test sentences lucky? Paired bootstrap.

Koehn 2004, "Statistical significance tests for machine translation evaluation": draw as many test
sentences as there are, with replacement, the same ones for both systems; score both; repeat.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seq2seq_jax.evaluation.metrics import bleu_from_statistics, bleu_statistics, exact_matches
from seq2seq_jax.reports.results import Results

RESAMPLES = 1000
METRICS = ("exact_match", "bleu")


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

    sentences: list[tuple[int, str, str]]  # index, source, reference
    matches_N: Int[np.ndarray, " N"]
    statistics_NC: Int[np.ndarray, "N C"]


def resamples(sentences: int, seed: int = 0) -> Float[np.ndarray, "R N"]:
    """How often each sentence is drawn: RESAMPLES rows, after a first one for the set as it is."""
    generator = np.random.default_rng(seed)
    drawn = [np.ones(sentences)]
    for _ in range(RESAMPLES):
        indices = generator.integers(0, sentences, sentences)
        drawn.append(np.bincount(indices, minlength=sentences).astype(np.float64))
    return np.stack(drawn)


def resampled_scores(
    system: System, times_RN: Float[np.ndarray, "R N"]
) -> dict[str, Float[np.ndarray, " R"]]:
    """Exact match (a fraction) and corpus BLEU (0 to 100) on every resample."""
    sums_RC = np.rint(times_RN @ system.statistics_NC).astype(np.int64)
    return {
        "exact_match": times_RN @ system.matches_N / len(system.matches_N),
        "bleu": np.array([bleu_from_statistics(sums_C) for sums_C in sums_RC]),
    }


def bootstrap(difference_R: Float[np.ndarray, " R"]) -> tuple[float, float, float]:
    """(low, high, p) of the differences between two systems on the same resamples.

    p = 2 (1 + min(#{difference <= 0}, #{difference >= 0})) / (1 + R), at most 1; the 1 added on
    both sides keeps p off 0, which no number of resamples can show.
    """
    low, high = np.quantile(difference_R, [0.025, 0.975])
    against = min(np.sum(difference_R <= 0), np.sum(difference_R >= 0))
    return float(low), float(high), min(1.0, float(2 * (1 + against) / (1 + len(difference_R))))


def compare_with_baseline(results: Results) -> list[Comparison]:
    """Every cell against the baseline, from predictions/test.jsonl of all finished seeds.

    Cells without finished seeds are left out, and so are those that were tested on other sentences
    than the baseline; the latter is noted in `results.problems`.
    """
    systems = {cell: _systems(results, cell) for cell in results.cells}
    baseline = systems.pop(results.baseline)
    if not baseline or not any(systems.values()):
        return []
    sentences = baseline[0].sentences
    times_RN = resamples(len(sentences))
    same = [system for system in baseline if system.sentences == sentences]
    reference = _mean_scores(same, times_RN)
    comparisons = []
    for cell, seeds in systems.items():
        if len(same) < len(baseline) or any(system.sentences != sentences for system in seeds):
            results.problems.append(
                f"{cell} was tested on other sentences than {results.baseline}: not compared"
            )
        elif seeds:
            scores = _mean_scores(seeds, times_RN)
            for metric in METRICS:
                observed, *differences = (scores[metric] - reference[metric]).tolist()
                low, high, p = bootstrap(np.array(differences))
                comparisons.append(Comparison(cell, metric, observed, low, high, p))
    return comparisons


def _systems(results: Results, cell: str) -> list[System]:
    """One for every finished seed with predictions."""
    systems = []
    for seed in results.finished(cell):
        lines = sorted(results.predictions(cell, seed, "test"), key=lambda line: line["index"])
        if lines:
            hypotheses = [line["hypothesis"] for line in lines]
            references = [line["reference"] for line in lines]
            sentences = [(line["index"], line["source"], line["reference"]) for line in lines]
            matches_N = exact_matches(hypotheses, references).astype(np.int64)
            systems.append(System(sentences, matches_N, bleu_statistics(hypotheses, references)))
    return systems


def _mean_scores(
    seeds: list[System], times_RN: Float[np.ndarray, "R N"]
) -> dict[str, Float[np.ndarray, " R"]]:
    """Scores on the resamples, averaged over seeds: the same quantity as in the table."""
    scores = [resampled_scores(system, times_RN) for system in seeds]
    return {metric: np.mean([score[metric] for score in scores], axis=0) for metric in METRICS}
