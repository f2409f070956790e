"""What the finished runs of a cell made of the test set, as the counts that scores are sums of."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from seq2seq_jax.evaluation.lengths import source_words
from seq2seq_jax.evaluation.metrics import PREDICTIONS, Statistics, sentence_statistics
from seq2seq_jax.reports.results import Results, references_of


@dataclasses.dataclass(eq=False)
class Tested:
    """The translations of a run; words: of each source."""

    words: list[int]
    sentences: list[tuple[int, str, tuple[str, ...]]]  # index, source, references
    hypotheses: list[str]
    _counted: dict[str, Any] = dataclasses.field(default_factory=dict)

    def statistics(self, names: Sequence[str]) -> Statistics:
        """The named counts of each sentence (`metrics.TEXT_COUNTS`), each made once."""
        if missing := [name for name in names if name not in self._counted]:
            references = [own for _, _, own in self.sentences]
            self._counted |= sentence_statistics(self.hypotheses, references, missing)
        return {name: self._counted[name] for name in names}


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
        lines = sorted(results.predictions(cell, seed, split), key=lambda line: line["index"])
        results.cache[key] = lines and Tested(
            [source_words(line["source_tokens"]) for line in lines],
            [(line["index"], line["source"], references_of(line)) for line in lines],
            [line["hypothesis"] for line in lines],
        )
    return results.cache[key] or None
