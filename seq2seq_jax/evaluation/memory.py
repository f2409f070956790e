"""Sentences that no batch can hold."""

from ml_collections import ConfigDict

from seq2seq_jax import processor
from seq2seq_jax.data import Data
from seq2seq_jax.data.batching import lengths
from seq2seq_jax.types import InputError


def refuse_what_cannot_fit(config: ConfigDict, data: Data, split: str, rows: int) -> None:
    """Raises InputError for a pair whose batch of so many rows would need more than this machine's
    memory for its alignments alone, rows x target x source numbers: JAX would not say whose."""
    memory, part = processor.memory(), data.encoded[split]
    if config.model.attention.score == "none" or not memory:
        return
    positions_N = lengths(part.source, part.target).astype(int).prod(axis=1)
    worst = int(positions_N.argmax())
    needed = 4 * rows * int(positions_N[worst])
    if needed > memory:
        source, target = len(part.source[worst]), len(part.target[worst])
        out = " (data.source.max_length leaves training pairs out)" if split == "train" else ""
        raise InputError(
            f"{split}, pair {worst + 1}: {source:,} source and {target:,} target tokens; the"
            f" alignments of a batch of {rows} as long would need {needed >> 30:,} GiB and this"
            f" machine has {memory >> 30:,}. Cut the pair, or leave it out{out}"
        )
