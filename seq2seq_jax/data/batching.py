"""Batches of a few fixed shapes, by random access, and the Grain iterator over them."""

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int

from seq2seq_jax.data.buckets import Shape, assign, choose_buckets, padding_share
from seq2seq_jax.data.links import Shares
from seq2seq_jax.types import PAD, Batch, InputError

if TYPE_CHECKING:
    from seq2seq_jax.data import iterator

__all__ = [
    "Batches",
    "StackedBatches",
    "choose_buckets",
    "lengths",
    "make_iterator",
    "padding_share",
]

_FOREVER = 1 << 40  # batches; Grain wants a length, a run ends by its own count
_ORDER = 1 << 31  # above every seed: the order of the shapes is no seed's shuffle of examples


class _Piece(NamedTuple):
    """One batch of an epoch before it is filled: its shape and its examples."""

    shape: Shape
    examples: np.ndarray


class Batches:
    """The examples of one split as batches: index i gives batch i of the run.

    Every batch has `batch_size` rows and one of `shapes`; an example goes to the smallest shape
    that holds both of its sides. The last batch of each shape is filled up with rows of PAD and
    index -1, so every example comes exactly once an epoch.

    With a seed, the run goes on for ever, and epoch e is a pure function of (seed, e): examples are
    shuffled within their shape and cut into batches, and the batches come in an order of shapes
    that depends on e alone. So batch i has one shape under all seeds, and runs that differ in their
    seed can train in one program, each on its own batches. Without a seed the batches come once, in
    order: shape by shape, then by index.

    `source` and `target` hold one array of ids an example; `gold`, where attention is guided, its
    shares. Raises InputError where an example fits no shape.
    """

    def __init__(
        self,
        source: Sequence[Sequence[int] | np.ndarray],
        target: Sequence[Sequence[int] | np.ndarray],
        shapes: Sequence[Shape],
        batch_size: int,
        seed: int | None = None,
        gold: Sequence[Shares] | None = None,
    ):
        self.shapes = tuple(sorted(shapes, key=lambda shape: (sum(shape), shape)))
        self.batch_size = batch_size
        self.seed = seed
        self.lengths_N2 = lengths(source, target)
        # Two flat arrays instead of many small ones: worker processes get them by pickle.
        self._source, self._source_start = _flatten(source)
        self._target, self._target_start = _flatten(target)
        self._gold = None
        if gold is not None:
            joined = Shares(*(np.concatenate(parts) for parts in zip(*gold, strict=True)))
            self._gold = joined, _starts(shares.share_G for shares in gold)
        bucket_N = assign(self.lengths_N2, self.shapes)
        if seed is not None and not len(bucket_N):
            raise InputError("no examples to make batches of")
        self._members = [np.flatnonzero(bucket_N == k) for k in range(len(self.shapes))]
        self.per_epoch = sum(-(-len(members) // batch_size) for members in self._members)
        self._length = self.per_epoch if seed is None else _FOREVER
        self._plans: dict[int, list[_Piece]] = {}

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self._length:
            raise IndexError(index)
        epoch, position = divmod(index, self.per_epoch)
        (source_length, target_length), chosen = self._plan(epoch)[position]
        index_B = np.full(self.batch_size, -1, np.int32)
        index_B[: len(chosen)] = chosen
        return Batch(
            self._rows(self._source, self._source_start, chosen, source_length),
            self._rows(self._target, self._target_start, chosen, target_length),
            index_B,
            self._gold_rows(chosen, target_length, source_length),
        )

    def blanks(self) -> list[Batch]:
        """A batch of nothing but padding for each shape."""
        rows = self.batch_size
        return [
            Batch(
                np.zeros((rows, s), np.int32),
                np.zeros((rows, t), np.int32),
                np.full(rows, -1, np.int32),
                self._gold_rows(np.array([], np.int64), t, s),
            )
            for s, t in self.shapes
        ]

    def _rows(self, flat: np.ndarray, start: np.ndarray, chosen: np.ndarray, width: int):
        rows = np.full((self.batch_size, width), PAD, np.int32)
        real_KT, place_R = _places(start, chosen, width)
        rows[: len(chosen)][real_KT] = flat[place_R]
        return rows

    def _gold_rows(self, chosen: np.ndarray, positions: int, width: int) -> np.ndarray | None:
        if self._gold is None:
            return None
        (place_G2, share_G), start = self._gold
        most = int((start[chosen + 1] - start[chosen]).max(initial=0))
        real_KG, place_R = _places(start, chosen, most)
        gold_BTS = np.zeros((self.batch_size, positions, width), np.float32)
        gold_BTS[(np.nonzero(real_KG)[0], *place_G2[place_R].T)] = share_G[place_R]
        return gold_BTS

    def _plan(self, epoch: int) -> list[_Piece]:
        """The batches of one epoch. Two epochs are kept: reading ahead crosses their border."""
        plan = self._plans.get(epoch)
        if plan is None:
            plan = self._make_plan(epoch)
            # Replaced, not changed: several threads read it.
            self._plans = {e: p for e, p in self._plans.items() if e == epoch - 1} | {epoch: plan}
        return plan

    def _make_plan(self, epoch: int) -> list[_Piece]:
        members = self._members
        if self.seed is not None:
            generator = np.random.default_rng([self.seed, epoch])
            members = [generator.permutation(m) for m in members]
        pieces = [
            _Piece(shape, m[i : i + self.batch_size])
            for shape, m in zip(self.shapes, members, strict=True)
            for i in range(0, len(m), self.batch_size)
        ]
        if self.seed is not None:
            order = np.random.default_rng([_ORDER, epoch]).permutation(len(pieces))
            pieces = [pieces[i] for i in order]
        return pieces

    def with_seed(self, seed: int) -> "Batches":
        """The same examples in the order of another seed; the arrays are shared."""
        other = copy.copy(self)
        other.seed, other._plans = seed, {}
        return other

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_plans": {}}


class StackedBatches:
    """The batches of several runs side by side: batch i holds batch i of each, along a first axis.

    `runs` differ in their seed alone, so that their batches have one shape.
    """

    def __init__(self, runs: Sequence[Batches]):
        self._runs = tuple(runs)
        self.per_epoch = runs[0].per_epoch

    def __len__(self) -> int:
        return len(self._runs[0])

    def __getitem__(self, index: int) -> Batch:
        return stack([run[index] for run in self._runs])

    def blanks(self) -> list[Batch]:
        return [stack(blanks) for blanks in zip(*(run.blanks() for run in self._runs), strict=True)]


def stack(batches: Sequence[Batch]) -> Batch:
    parts = zip(*batches, strict=True)
    return Batch(*(None if arrays[0] is None else np.stack(arrays) for arrays in parts))


def lengths(source: Sequence, target: Sequence) -> Int[np.ndarray, "N 2"]:
    """Tokens of both sides, EOS included."""
    pairs = [(len(s), len(t)) for s, t in zip(source, target, strict=True)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def make_iterator(
    batches: Batches | StackedBatches, workers: int, prefetch: int
) -> "iterator.BatchIterator":
    """A Grain iterator over `batches`; close it when done.

    `workers` processes prepare the batches, or this one where it is 0; `prefetch` batches are
    prepared ahead, but by a process that trains on a CPU. Neither changes which batches come, nor
    their order. `get_state` and `set_state` tell and restore the position, also across numbers of
    workers.
    """
    from seq2seq_jax.data.iterator import BatchIterator

    return BatchIterator(batches, workers, prefetch)


def _flatten(rows: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """All ids in one array, and where each example starts (one entry more than examples)."""
    flat = np.concatenate([np.asarray(row, np.int32) for row in rows]) if len(rows) else []
    return np.asarray(flat, np.int32), _starts(rows)


def _starts(rows: Iterable) -> np.ndarray:
    return np.cumsum([0, *map(len, rows)], dtype=np.int64)


def _places(start: np.ndarray, chosen: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `width` columns each chosen example fills, and the flat places of what is there."""
    place_KW = start[chosen][:, None] + np.arange(width)
    real_KW = place_KW < start[chosen + 1][:, None]
    return real_KW, place_KW[real_KW]
