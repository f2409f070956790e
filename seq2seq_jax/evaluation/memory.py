"""Sentences that no batch can hold."""

from ml_collections import ConfigDict

from seq2seq_jax import processor
from seq2seq_jax.data import Data
from seq2seq_jax.types import InputError


def refuse_what_cannot_fit(config: ConfigDict, data: Data) -> None:
    """Raises InputError for a pair whose batch would need more than this machine's memory for its
    alignments alone: rows x target x source numbers. JAX finds out too late to say whose."""
    memory = processor.memory()
    if config.model.attention.score == "none" or not memory:
        return
    for split, part in data.encoded.items():
        training = split == "train"
        rows = config.data.batch_size if training else config.evaluation.batch_size
        rows //= config.train.accumulation if training else 1
        for i, (source, target) in enumerate(zip(part.source, part.target, strict=True), start=1):
            needed = 4 * rows * len(source) * len(target)
            if needed > memory:
                out = " (data.source.max_length leaves training pairs out)" if training else ""
                raise InputError(
                    f"{split}, pair {i}: {len(source):,} source and {len(target):,} target tokens;"
                    f" the alignments of a batch of {rows} as long would need {needed >> 30:,} GiB"
                    f" and this machine has {memory >> 30:,}. Cut the pair, or leave it out{out}"
                )
