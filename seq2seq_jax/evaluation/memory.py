"""Sentences that no batch can hold."""

import math
from collections.abc import Sequence

from ml_collections import ConfigDict

from seq2seq_jax import processor
from seq2seq_jax.data import Data
from seq2seq_jax.data.buckets import Shape
from seq2seq_jax.types import InputError


def refuse_what_cannot_fit(
    config: ConfigDict, data: Data, splits: Sequence[str], largest: Shape, rows: int
) -> None:
    """Raises InputError where a batch of so many rows in the `largest` shape of these splits would
    need more than this machine's memory for its alignments alone, rows x target x source numbers:
    JAX would not say whose they are."""
    memory, needed = processor.memory(), 4 * rows * math.prod(largest)
    if config.model.attention.score == "none" or not memory or needed <= memory:
        return
    source, target = (_longest(data, splits, side) for side in ("source", "target"))
    out = ""
    if "train" in splits:
        out = " (data.source.max_length and data.target.max_length leave training pairs out)"
    raise InputError(
        f"{source}, {target}; the alignments of a batch of {rows} as long would need"
        f" {needed >> 30:,} GiB and this machine has {memory >> 30:,}. Cut such pairs, or leave"
        f" them out{out}"
    )


def _longest(data: Data, splits: Sequence[str], side: str) -> str:
    """The pair with most tokens on this side."""
    sizes = (
        (len(ids), split, number)
        for split in splits
        for number, ids in enumerate(getattr(data.encoded[split], side), 1)
    )
    size, split, number = max(sizes, key=lambda found: found[0])
    return f"{split}, pair {number}: {size:,} {side} tokens"
