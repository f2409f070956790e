"""Splits that were not given are held out of train; sizes that were asked for are cut."""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

import ml_collections
import numpy as np

from seq2seq_jax.types import InputError, Pair, Splits

DEFAULT_SHARE, DEFAULT_SIZE = 0.05, 1000  # held out where no size is asked for


def complete(
    given: Mapping[str, list[Pair]], data: ml_collections.ConfigDict, notes: Sequence[str] = ()
) -> Splits:
    """All three splits from those given, `train` at least.

    A split that is not given is held out of train, by distinct source sentence: all pairs of one
    source go to one split, so that nothing held out was seen in training with another target.
    Without a size (`data.valid_size`, `data.test_size`) that is 5 % of the pairs, 1000 at most.
    A split that is larger than its size is cut to a random sample in the order of the file. All
    of it depends on `data.seed` alone. Raises InputError where nothing is left to train on.
    """
    notes = list(notes)
    train = given["train"]
    wanted = {
        split: data[f"{split}_size"] or min(DEFAULT_SIZE, 1 + int(DEFAULT_SHARE * len(train)))
        for split in ("valid", "test")
        if split not in given
    }
    splits = dict(given)
    if wanted:
        if sum(wanted.values()) >= len(train):
            sizes = ", ".join(f"data.{split}_size={size}" for split, size in wanted.items())
            raise InputError(f"nothing is left to train on: train has {len(train)} pairs, {sizes}")
        splits |= hold_out(train, wanted, data.seed)
        for split in wanted:
            notes.append(f"{split}: {len(splits[split])} pairs held out of train, by source")
        if not splits["train"]:
            raise InputError("nothing is left to train on: too few different sources")
    for number, split in enumerate(("train", "valid", "test")):
        size, pairs = data[f"{split}_size"], splits[split]
        if 0 < size < len(pairs):
            generator = np.random.default_rng([data.seed, number])
            kept = np.sort(generator.permutation(len(pairs))[:size])
            splits[split] = [pairs[i] for i in kept]
            notes.append(f"{split}: a random sample of {size} of {len(pairs)} pairs")
        elif size > len(pairs):
            notes.append(f"{split}: {len(pairs)} pairs, fewer than data.{split}_size = {size}")
    seen = {same(pair.source) for pair in splits["train"]}
    for split in ("valid", "test"):
        if split in wanted:
            continue
        if count := sum(same(pair.source) in seen for pair in splits[split]):
            notes.append(f"{split}: {count} pairs whose source is in train, too")
    return Splits(splits["train"], splits["valid"], splits["test"], tuple(notes))


def hold_out(pairs: Sequence[Pair], sizes: Mapping[str, int], seed: int) -> dict[str, list[Pair]]:
    """Moves about `sizes` pairs out of train, whole sources at a time, in random order.

    A source with more pairs than a split has room for is passed over, so a split has at most its
    size, and less only where no smaller source is left.
    """
    groups: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        groups.setdefault(same(pair.source), []).append(i)
    members = list(groups.values())
    order = np.random.default_rng([seed, len(pairs)]).permutation(len(members)).tolist()
    splits, taken = {}, set()
    for split, size in sizes.items():
        chosen, rest = [], []
        for at, group in enumerate(order):
            if len(chosen) == size:
                rest += order[at:]
                break
            if len(chosen) + len(members[group]) <= size:
                chosen += members[group]
            else:
                rest.append(group)
        order = rest
        taken.update(chosen)
        splits[split] = [pairs[i] for i in chosen]
    splits["train"] = [pair for i, pair in enumerate(pairs) if i not in taken]
    return splits


def same(source: str) -> str:
    """What makes two sources the same sentence: all but case, width and white space."""
    return " ".join(unicodedata.normalize("NFKC", source).casefold().split())


def share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone: the hash by which splits are made."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / (1 << 48)
