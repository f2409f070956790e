"""What is timed: models by name, and data that need no download."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.data import Vocabulary, load_data
from seq2seq_jax.data.batching import Batches, choose_buckets, lengths
from seq2seq_jax.data.buckets import Shape
from seq2seq_jax.evaluation.assembly import order_seed
from seq2seq_jax.types import EOS, SPECIALS, Batch, InputError

EXAMPLES = 29_000  # as many as Multi30k has
# What of the part `data` of a config is free.
BATCHING = ("data.batch_size", "data.buckets", "data.order", "data.workers", "data.prefetch")
SHAPES = 16  # of batches; with 4, a fifth of all positions is padding


class Lengths(NamedTuple):
    """Tokens of (source, target) with the end mark: their logarithms are normal and correlated."""

    mean: tuple[float, float]
    deviation: tuple[float, float]
    correlation: float
    shortest: tuple[int, int]
    longest: tuple[int, int]

    def draw(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Pairs of lengths, rounded and cut to what occurs."""
        covariance = np.diag(np.square(self.deviation))
        covariance[0, 1] = covariance[1, 0] = self.correlation * np.prod(self.deviation)
        drawn_N2 = np.exp(generator.multivariate_normal(self.mean, covariance, count))
        return np.clip(np.rint(drawn_N2), self.shortest, self.longest).astype(np.int64)


class Synthetic(NamedTuple):
    """Random ids, equally likely, with lengths and vocabulary sizes (special ids included) like
    those of real data."""

    lengths: Lengths
    sizes: tuple[int, int]


class Examples(NamedTuple):
    """Ids of both sides, EOS at the end of each row, and what they are ids of."""

    source: list[np.ndarray]
    target: list[np.ndarray]
    vocabularies: tuple[Vocabulary, Vocabulary]


# The moments were read off the training splits: Multi30k's task 1, German to English, words in
# lower case; CMUdict as PRONASYL 2007 split it, letters to phonemes.
MULTI30K = Lengths((2.553, 2.601), (0.298, 0.273), 0.853, (3, 5), (45, 41))
CMUDICT = Lengths((2.103, 1.953), (0.270, 0.288), 0.883, (2, 2), (23, 21))

SYNTHETIC = {
    "multi30k": Synthetic(MULTI30K, (8_000, 6_000)),
    "cmudict": Synthetic(CMUDICT, (31, 43)),
}

LSTM = {"model.encoder.cell": "lstm", "model.decoder.cell": "lstm"}

# Name -> (data, keys of the config that differ from configs/default.py). Translations are about as
# long as the data's targets: factor * source words + extra.
WORKLOADS: dict[str, tuple[str, dict[str, Any]]] = {
    "luong": (
        "multi30k",
        {
            **LSTM,
            "data.batch_size": 128,
            "model.embedding": 256,
            "model.encoder.width": 256,
            "model.decoder.width": 512,
            "model.decoder.input_feeding": True,
            "model.attention.score": "general",
            "model.attention.width": 512,
            "evaluation.max_length_factor": 1.0,
            "evaluation.max_length_extra": 1,
        },
    ),
    "small": (
        "scan",
        {
            **LSTM,
            "data.name": "scan",
            "data.batch_size": 64,
            "model.embedding": 64,
            "model.encoder.width": 64,  # a direction: M = 128
            "model.decoder.width": 128,
            "evaluation.max_length_factor": 2.0,
            "evaluation.max_length_extra": 0,
        },
    ),
    "g2p": (
        "cmudict",
        {
            **LSTM,
            "data.batch_size": 128,
            "model.embedding": 64,
            "model.encoder.width": 64,
            "model.decoder.width": 128,
            "evaluation.max_length_factor": 0.8,
            "evaluation.max_length_extra": 1,
        },
    ),
    "transformer": (
        "multi30k",
        {
            "data.batch_size": 128,
            "model.embedding": 256,
            "model.encoder.kind": "transformer",
            "model.encoder.width": 256,
            "model.encoder.layers": 3,
            "model.decoder.kind": "transformer",
            "model.decoder.width": 256,
            "model.decoder.layers": 3,
            "model.transformer.heads": 4,
            "model.transformer.mlp_width": 1024,
            "model.attention.score": "scaled_dot",
            "model.attention.heads": 4,
            "model.attention.width": 256,
            "evaluation.max_length_factor": 1.0,
            "evaluation.max_length_extra": 1,
        },
    ),
}


def make_config(name: str, overrides: Mapping[str, Any]) -> ConfigDict:
    """The config of a workload with other values for some keys. Raises InputError."""
    config = configs.defaults()
    config.data.buckets = SHAPES
    config.update_from_flattened_dict(WORKLOADS[name][1])
    for key in overrides:
        if key.startswith("data.") and key not in BATCHING:
            raise InputError(
                f"{key}: a workload has data of its own; what can be set is {', '.join(BATCHING)}"
            )
    config.update_from_flattened_dict(dict(overrides))
    configs.validate(config)
    if config.train.guided_alignment:
        raise InputError(
            "train.guided_alignment: a workload's data have no gold links; set it to 0"
        )
    return config


def variant(name: str, config: ConfigDict) -> dict[str, Any]:
    """The keys in which a config differs from the workload's own."""
    own = configs.flatten(make_config(name, {}))
    return {key: value for key, value in configs.flatten(config).items() if value != own[key]}


def make_examples(name: str, config: ConfigDict) -> Examples:
    """The training examples: the same ones each time, whatever the config's seed."""
    data = WORKLOADS[name][0]
    if data == config.data.name:  # generated by the project itself
        loaded = load_data(config.data)
        train = loaded.encoded["train"]
        return Examples(train.source, train.target, (loaded.source, loaded.target))
    moments, sizes = SYNTHETIC[data]
    generator = np.random.default_rng(0)
    lengths_N2 = moments.draw(EXAMPLES, generator)
    source, target = (
        [_row(length, size, generator) for length in length_N.tolist()]
        for length_N, size in zip(lengths_N2.T, sizes, strict=True)
    )
    return Examples(source, target, (_vocabulary(sizes[0]), _vocabulary(sizes[1])))


def make_batches(examples: Examples, config: ConfigDict) -> Batches:
    """The batches of a training on them, in the order of the config's seed."""
    rows = config.data.batch_size
    pairs = lengths(examples.source, examples.target)
    shapes = choose_buckets(pairs, config.data.buckets, rows)
    return Batches(examples.source, examples.target, shapes, rows, order_seed(config))


def parse_shape(text: str) -> Shape:
    """Of the flag --shape. Raises what argparse shows."""
    try:
        source, target = map(int, text.split("x"))
    except ValueError:
        source = target = 0
    if min(source, target) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: source x target positions, such as 9x14")
    return source, target


def full_batch(sizes: Sequence[int], rows: int, shape: Shape, seed: int = 0) -> Batch:
    """Random ids of vocabularies of these sizes at every position: no padding."""
    generator = np.random.default_rng(seed)
    source, target = (
        generator.integers(len(SPECIALS), size, (rows, length)).astype(np.int32)
        for size, length in zip(sizes, shape, strict=True)
    )
    return Batch(source, target, np.arange(rows, dtype=np.int32))


def _row(length: int, size: int, generator: np.random.Generator) -> np.ndarray:
    return np.append(generator.integers(len(SPECIALS), size, length - 1), EOS).astype(np.int32)


def _vocabulary(size: int) -> Vocabulary:
    words = tuple(f"w{i}" for i in range(len(SPECIALS), size))
    return Vocabulary("space", False, "none", (*SPECIALS, *words))
