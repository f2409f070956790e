"""What the PyTorch program of the benchmark reads."""

import itertools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.benchmarking.training import one_of_each_shape
from seq2seq_jax.benchmarking.workloads import Examples
from seq2seq_jax.data.batching import Batches
from seq2seq_jax.evaluation.environment import environment


def write_input(
    folder: Path,
    config: ConfigDict,
    examples: Examples,
    params: Any,
    batches_UB: Int[np.ndarray, "U B"],
    ends: bool = False,
) -> None:
    """Writes all that the program needs. `ends`: whether a translation may end before its limit."""
    settings = configs.to_dict(config) | {"ends": ends}
    settings["vocabularies"] = [len(vocabulary) for vocabulary in examples.vocabularies]
    settings["threads"] = environment()["cores"]
    settings["positions"] = positions(config, examples)
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    arrays = {"batches_UB": batches_UB}
    for side, rows in (("source", examples.source), ("target", examples.target)):
        arrays[side] = np.concatenate(rows)
        arrays[f"{side}_start"] = np.cumsum([0, *map(len, rows)])
    np.savez(folder / "examples.npz", allow_pickle=False, **arrays)

    leaves = jax.tree.leaves_with_path(params)
    weights = {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}
    np.savez(folder / "weights.npz", allow_pickle=False, **weights)


def positions(config: ConfigDict, examples: Examples) -> int:
    """Those of the longest sentence, or of a translation that may be longer."""
    longest = max(map(len, examples.source))
    limit = int(config.evaluation.max_length_factor * longest) + config.evaluation.max_length_extra
    return max(longest, limit, *map(len, examples.target))


def training_batches(batches: Batches, updates: int, same: bool) -> Int[np.ndarray, "U B"]:
    """Which examples are in which batch: first a batch of each shape to warm up with, the same as
    here, then those of `updates` updates, `same` as here or of like lengths."""
    warm_up = [batch.index_B for batch in one_of_each_shape(batches)]
    chosen_UB = same_batches(batches, updates) if same else like_lengths(batches, updates)
    return np.concatenate([warm_up, chosen_UB])


def same_batches(batches: Batches, updates: int) -> Int[np.ndarray, "U B"]:
    """The examples of the updates after the first, as the training loop has them; -1 is none."""
    return np.stack([batches[1 + i].index_B for i in range(updates)])


def like_lengths(batches: Batches, updates: int) -> Int[np.ndarray, "U B"]:
    """Batches with little padding, in random order: examples sorted by target and source."""
    source_N, target_N = batches.lengths_N2.T
    order_N = np.lexsort((source_N, target_N))
    padded_N = np.pad(order_N, (0, -len(order_N) % batches.batch_size), constant_values=-1)
    generator = np.random.default_rng(0)
    epoch_UB = generator.permutation(padded_N.reshape(-1, batches.batch_size))
    return np.stack(list(itertools.islice(itertools.cycle(epoch_UB), updates)))
