"""How much a score depends on which sentences the set happens to hold: the bootstrap.

Draw as many sentences as there are, with replacement, and score them; repeat (Efron 1979; for
translations Koehn 2004). Scores that are made of sums need the sentences' counts alone.
"""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from seq2seq_jax.evaluation.metrics import Statistics, scores

RESAMPLES = 1000
LIMITS = (0.025, 0.975)  # of a 95 % interval


def resamples(sentences: int, seed: int = 0) -> Iterator[Float[np.ndarray, " N"]]:
    """How often each sentence is drawn: RESAMPLES times, after a first one for the set as it is."""
    generator = np.random.default_rng(seed)
    yield np.ones(sentences)
    for _ in range(RESAMPLES):
        indices = generator.integers(0, sentences, sentences)
        yield np.bincount(indices, minlength=sentences).astype(np.float64)


def resampled_scores(
    statistics: Statistics, times: Iterable[Float[np.ndarray, " N"]]
) -> dict[str, Float[np.ndarray, " R"]]:
    """Every metric of `metrics.scores` on every resample; nan where it is not defined there."""
    ends = np.cumsum([counts_NC.shape[1] for counts_NC in statistics.values()])
    all_NC = np.concatenate(list(statistics.values()), axis=1)
    rows = []
    for times_N in times:
        sums = np.split(times_N @ all_NC, ends[:-1])
        rows.append(scores(dict(zip(statistics, sums, strict=True))))
    names = dict.fromkeys(metric for row in rows for metric in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def intervals(statistics: Statistics) -> dict[str, list[float]]:
    """metric -> [low, high]: its 95 % percentile interval over resampled sentences.

    It tells of the choice of sentences alone, not of the seed that the model was trained with. The
    draws are the same each time. A metric that is not finite on some resample is left out.
    """
    (sentences,) = {len(counts_NC) for counts_NC in statistics.values()}
    found = resampled_scores(statistics, itertools.islice(resamples(sentences), 1, None))
    return {
        metric: np.quantile(value_R, LIMITS).tolist()
        for metric, value_R in found.items()
        if np.isfinite(value_R).all()
    }


def bootstrap(difference_R: Float[np.ndarray, " R"]) -> tuple[float, float, float]:
    """(low, high, p) of the differences between two systems on the same resamples.

    p = 2 (1 + min(#{difference <= 0}, #{difference >= 0})) / (1 + R), at most 1; the 1 added on
    both sides keeps p off 0, which no number of resamples can show.
    """
    low, high = np.quantile(difference_R, LIMITS)
    against = min(np.sum(difference_R <= 0), np.sum(difference_R >= 0))
    return float(low), float(high), min(1.0, float(2 * (1 + against) / (1 + len(difference_R))))
