"""The metrics that a table can show, and how."""

from collections.abc import Iterable
from typing import NamedTuple

from seq2seq_jax.evaluation.metrics import SUFFIXES

BEAM = SUFFIXES["beam"]


class Column(NamedTuple):
    """How a metric is shown: value * scale with so many digits; better: higher, lower or ""."""

    metric: str
    title: str
    better: str
    scale: float
    digits: int


def _by_beam(column: Column) -> Column:
    """The same metric of the translations by beam search."""
    return column._replace(metric=column.metric + BEAM, title=f"{column.title} (beam)")


TEXTS = (  # scores of translations
    Column("exact_match", "exact match (%)", "higher", 100, 1),
    Column("bleu", "BLEU", "higher", 1, 2),
    Column("chrf", "chrF", "higher", 1, 2),
    Column("ter", "TER", "lower", 1, 2),
    Column("token_error_rate", "token error rate (%)", "lower", 100, 2),
    Column("sequence_error_rate", "sequence error rate (%)", "lower", 100, 2),
)
COLUMNS = {
    column.metric: column
    for column in (
        *TEXTS,
        *map(_by_beam, TEXTS),
        Column("token_accuracy", "token accuracy (%)", "higher", 100, 1),
        Column("perplexity", "perplexity (forced)", "lower", 1, 3),
        Column("perplexity_free", "perplexity (free)", "lower", 1, 3),
        Column("aer", "AER (%)", "lower", 100, 1),
        Column("alignment_entropy", "alignment entropy (nats)", "", 1, 3),
        Column("alignment_coverage", "alignment coverage (%)", "", 100, 1),
        Column("alignment_monotonicity", "monotonicity (%)", "", 100, 1),
        Column("gold_distance", "gold distance (words)", "lower", 1, 2),
        Column("padding_weight", "padding weight", "", 1, 6),
        Column("loss", "loss (nats)", "lower", 1, 4),
        Column("members", "members", "", 1, 0),
        Column("parameters", "parameters", "", 1, 0),
        Column("seconds", "seconds", "", 1, 0),
    )
}
DEFAULT_COLUMNS = (
    "exact_match",
    "bleu",
    "perplexity",
    "perplexity_free",
    "aer",
    "members",
    "parameters",
    "seconds",
)


def with_beam(metrics: Iterable[str]) -> list[str]:
    """Each metric once, behind it that of beam search where it has one."""
    named = [one for metric in metrics for one in (metric, metric + BEAM) if one in COLUMNS]
    return list(dict.fromkeys(named))
