"""Data sets: text from a task, files or tensorflow-datasets; vocabularies; ids; batches."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ml_collections
import numpy as np

from seq2seq_jax.data.links import Shares, share_out, word_sizes
from seq2seq_jax.data.sources import load_pairs, read_pairs
from seq2seq_jax.data.vocabulary import Vocabulary, build
from seq2seq_jax.types import InputError, Pair, Splits

SPLITS = ("train", "valid", "test")

__all__ = [
    "SPLITS",
    "Data",
    "Encoded",
    "Vocabulary",
    "encode",
    "gold_shares",
    "load_data",
    "load_pairs",
    "with_test",
]


@dataclass(frozen=True)
class Encoded:
    """One split as ids, EOS at the end; entry i belongs to pair i of the split."""

    source: list[np.ndarray]
    target: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class Data:
    """Everything that a run reads: vocabularies, text, ids, and what was left out."""

    source: Vocabulary
    target: Vocabulary
    pairs: Splits
    encoded: dict[str, Encoded]

    @property
    def checksums(self) -> dict[str, str]:
        """What tells the pairs of each split from others, as `1,000 pairs, 1c291ca3`, and their
        gold links."""
        splits = {split: getattr(self.pairs, split) for split in SPLITS}
        links = {f"links of {split}": _links_checksum(splits[split]) for split in SPLITS}
        return {split: _checksum(splits[split]) for split in SPLITS} | links

    @property
    def notes(self) -> tuple[str, ...]:
        return self.pairs.notes


def load_data(
    data: ml_collections.ConfigDict, vocabularies: tuple[Vocabulary, Vocabulary] | None = None
) -> Data:
    """The data set of `config.data`.

    The vocabularies are built from the training split alone, or given (source, target): those of
    the run that goes on. Training pairs longer than a side's `max_length` tokens (EOS not counted)
    are left out and counted in `notes`; valid and test keep all. Raises InputError where a split is
    empty or no training pair is left, and for all that a source of data finds wrong.
    """
    pairs = load_pairs(data)
    if not pairs.train:
        raise InputError(_nothing_left(data, "the training split is empty", pairs.notes))
    for split in ("valid", "test"):
        if not getattr(pairs, split):
            why = f"the {split} split is empty; set data.{split} or data.{split}_size"
            raise InputError("\n  ".join([why, *pairs.notes]))
    source, target = vocabularies or _build(pairs.train, data)
    encoded = {split: encode(getattr(pairs, split), source, target) for split in SPLITS}
    for split in ("valid", "test"):
        _check_links(split, getattr(pairs, split), encoded[split], source, target)
    train, kept = encoded["train"], []
    limits = [data[side].max_length or np.inf for side in ("source", "target")]
    for i, (s, t) in enumerate(zip(train.source, train.target, strict=True)):
        if len(s) - 1 <= limits[0] and len(t) - 1 <= limits[1]:
            kept.append(i)
    if len(kept) < len(train):
        note = (
            f"train: {len(train) - len(kept)} of {len(train)} pairs left out: longer than "
            f"data.source.max_length={data.source.max_length} or "
            f"data.target.max_length={data.target.max_length} tokens"
        )
        pairs = pairs._replace(train=[pairs.train[i] for i in kept], notes=(*pairs.notes, note))
        encoded["train"] = Encoded([train.source[i] for i in kept], [train.target[i] for i in kept])
    if not kept:
        raise InputError(_nothing_left(data, "no training pair is short enough", pairs.notes))
    return Data(source, target, pairs, encoded)


def with_test(found: Data, files: str, data: ml_collections.ConfigDict) -> Data:
    """The data set with other test pairs: those of `files`, named as in `data.test`.

    Raises InputError for what is wrong with the files, pairs with an empty side included, and
    where they hold no pair.
    """
    pairs, notes = read_pairs(files, Path(), "--files", data)
    if notes:
        raise InputError(f"{notes[0]}, but a test is a whole one: take such pairs out of the files")
    if not pairs:
        raise InputError(f"--files={files!r}: there is no pair in it")
    encoded = encode(pairs, found.source, found.target)
    _check_links("--files", pairs, encoded, found.source, found.target)
    return replace(
        found, pairs=found.pairs._replace(test=pairs), encoded=found.encoded | {"test": encoded}
    )


def encode(pairs: Sequence[Pair], source: Vocabulary, target: Vocabulary) -> Encoded:
    """The ids of both sides of every pair."""
    return Encoded(
        [np.array(source.encode(pair.source), np.int32) for pair in pairs],
        [np.array(target.encode(pair.target), np.int32) for pair in pairs],
    )


def gold_shares(data: Data) -> list[Shares]:
    """What the sure gold links of each training pair ask of its alignment.

    Raises InputError where no pair has any, or the words of one cannot be told.
    """
    pairs, encoded = data.pairs.train, data.encoded["train"]
    if not any(pair.alignment for pair in pairs):
        raise InputError(
            "train.guided_alignment needs gold links, and no pair of the training split has any;"
            " set it to 0, or take data.name = text with a third file in data.train"
        )
    return [
        share_out(pair.alignment, *_word_sizes("train", pair, *ids, data.source, data.target))
        if pair.alignment
        else share_out((), (), ())
        for pair, *ids in zip(pairs, encoded.source, encoded.target, strict=True)
    ]


def _check_links(
    split: str, pairs: Sequence[Pair], encoded: Encoded, source: Vocabulary, target: Vocabulary
) -> None:
    """Raises InputError where evaluation could not tell the words of a pair with gold links."""
    for pair, *ids in zip(pairs, encoded.source, encoded.target, strict=True):
        if pair.alignment is not None:
            _word_sizes(split, pair, *ids, source, target)


def _word_sizes(
    split: str,
    pair: Pair,
    source_ids: np.ndarray,
    target_ids: np.ndarray,
    source: Vocabulary,
    target: Vocabulary,
) -> tuple[list[int], list[int]]:
    """The tokens of each word, of the source and of the target."""
    try:
        return (
            word_sizes(source, pair.source, len(source_ids) - 1),
            word_sizes(target, pair.target, len(target_ids) - 1),
        )
    except InputError as error:
        raise InputError(f"{split}: {error}") from None


def _build(train: Sequence[Pair], data: ml_collections.ConfigDict) -> tuple[Vocabulary, Vocabulary]:
    sources = [pair.source for pair in train]
    targets = [pair.target for pair in train]
    if data.joint_vocabulary:
        joint = build(sources + targets, data.source, "data.source")
        return joint, joint
    return build(sources, data.source, "data.source"), build(targets, data.target, "data.target")


def _checksum(pairs: Sequence[Pair]) -> str:
    code = 0
    for pair in pairs:
        code = zlib.crc32("\t".join((pair.source, *pair.references, "\n")).encode(), code)
    return f"{len(pairs):,} pairs, {code:08x}"


def _links_checksum(pairs: Sequence[Pair]) -> str:
    links = [(pair.alignment, pair.possible) for pair in pairs]
    return f"{zlib.crc32(repr(links).encode()):08x}"


def _nothing_left(data: ml_collections.ConfigDict, why: str, notes: Sequence[str]) -> str:
    return "\n  ".join([f"data.name={data.name}: nothing to train on: {why}", *notes])
