"""What the finished runs of a cell made of the test set, as the counts that scores are sums of."""

from typing import NamedTuple

from seq2seq_jax.evaluation.lengths import COUNTS, source_words
from seq2seq_jax.evaluation.metrics import PREDICTIONS, Statistics, sentence_statistics
from seq2seq_jax.reports.results import Results, references_of


class Tested(NamedTuple):
    """The translations of a run; words: of each source."""

    words: list[int]
    sentences: list[tuple[int, str, tuple[str, ...]]]  # index, source, references
    statistics: Statistics


def tested(results: Results, cell: str, mode: str) -> list[Tested]:
    """One for every finished seed with predictions of this mode."""
    found = [
        _read(results, cell, seed, f"test{PREDICTIONS[mode]}") for seed in results.finished(cell)
    ]
    return [one for one in found if one]


def _read(results: Results, cell: str, seed: int, split: str) -> Tested | None:
    # Counting takes longer than all else of a report, and the tests and the plots both need it.
    key = results.folders[cell, seed], split
    if key not in results.cache:
        results.cache[key] = None
        lines = sorted(results.predictions(cell, seed, split), key=lambda line: line["index"])
        if lines:
            references = [references_of(line) for line in lines]
            results.cache[key] = Tested(
                [source_words(line["source_tokens"]) for line in lines],
                [(x["index"], x["source"], own) for x, own in zip(lines, references, strict=True)],
                sentence_statistics([line["hypothesis"] for line in lines], references, COUNTS),
            )
    return results.cache[key]
