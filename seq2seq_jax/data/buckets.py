"""The batch shapes that waste the least: buckets chosen from the lengths of the data."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from seq2seq_jax.types import InputError

Shape = tuple[int, int]  # source and target positions

_TARGET = 2  # source positions that a target position takes as long as: benchmarks/tried.md
_GRID = 48  # candidate lengths a side at most; where there are more they are rounded up


def choose_buckets(
    lengths_N2: Int[np.ndarray, "N 2"], count: int, batch_size: int = 1
) -> tuple[Shape, ...]:
    """At most `count` shapes (S, T), nested, smallest first, with the least padded work.

    The work of a set of shapes is the number of positions to compute, padding included and target
    positions counted twice: sum over shapes of (S + 2 T) * rows, where rows is the number of
    examples for which the shape is the smallest that holds both sides, rounded up to full batches
    of `batch_size`.

    The shapes are nested (each holds all smaller ones, on both sides), so "smallest" has one
    meaning, and their sides are lengths of the data (rounded up to multiples of 2, 4, 8 ... where a
    side has more than 48 of them). Among those sets the answer is exact: with
    C(b) the number of examples that shape b holds, the least work of k shapes that end in b is

        f_k(b) = min over a inside b of f_{k-1}(a) + work(b, C(b) - C(a))

    Raises InputError where there are no examples.
    """
    if not len(lengths_N2):
        raise InputError("no examples to make batches of")
    column_I = _candidates(lengths_N2[:, 0])
    row_J = _candidates(lengths_N2[:, 1])
    held_IJ = _held(lengths_N2, column_I, row_J)

    def work(i: int, j: int, examples):
        return (column_I[i] + _TARGET * row_J[j]) * (-(-examples // batch_size) * batch_size)

    best_IJ = np.array(
        [[work(i, j, held_IJ[i, j]) for j in range(len(row_J))] for i in range(len(column_I))]
    )
    inner = []  # per number of shapes: the shape inside which comes before each one, -1 for none
    for _ in range(count - 1):
        new_IJ = best_IJ.copy()
        before_IJ = np.full(best_IJ.shape, -1)
        for i, j in np.ndindex(*best_IJ.shape):
            inside = np.s_[: i + 1, : j + 1]
            total = best_IJ[inside] + work(i, j, held_IJ[i, j] - held_IJ[inside])
            flat = int(total.argmin())
            if total.flat[flat] < best_IJ[i, j]:
                new_IJ[i, j] = total.flat[flat]
                a, b = divmod(flat, j + 1)
                before_IJ[i, j] = a * len(row_J) + b
        inner.append(before_IJ)
        best_IJ = new_IJ

    at = (len(column_I) - 1, len(row_J) - 1)
    chosen = [at]
    for before_IJ in reversed(inner):
        if before_IJ[at] >= 0:
            at = divmod(int(before_IJ[at]), len(row_J))
            chosen.append(at)
    return tuple((int(column_I[i]), int(row_J[j])) for i, j in reversed(chosen))


def assign(lengths_N2: Int[np.ndarray, "N 2"], shapes: Sequence[Shape]) -> Int[np.ndarray, " N"]:
    """The index of the first shape that holds the example. Raises InputError where none does."""
    bucket_N = np.full(len(lengths_N2), -1)
    for k in reversed(range(len(shapes))):
        bucket_N[(lengths_N2 <= shapes[k]).all(axis=1)] = k
    if (bucket_N < 0).any():
        i = int(np.flatnonzero(bucket_N < 0)[0])
        s, t = lengths_N2[i].tolist()
        raise InputError(
            f"example {i} has {s} source and {t} target tokens and fits none of the batch shapes "
            f"{', '.join(f'{a} x {b}' for a, b in shapes)}; set data.source.max_length and "
            "data.target.max_length"
        )
    return bucket_N


def padding_share(
    lengths_N2: Int[np.ndarray, "N 2"], shapes: Sequence[Shape], batch_size: int = 1
) -> float:
    """The fraction of all positions, both sides, that holds no token; filler rows included."""
    count_K = np.bincount(assign(lengths_N2, shapes), minlength=len(shapes))
    rows_K = -(-count_K // batch_size) * batch_size
    positions = int(rows_K @ np.array([s + t for s, t in shapes]))
    return 1 - int(lengths_N2.sum()) / positions if positions else 0.0


def _candidates(length_N: Int[np.ndarray, " N"]) -> Int[np.ndarray, " I"]:
    """The lengths of the data rounded up to a multiple that leaves few different ones."""
    multiple = 1
    while True:
        rounded = np.unique(-(-length_N // multiple) * multiple)
        if len(rounded) <= _GRID:
            return rounded
        multiple *= 2


def _held(
    lengths_N2: Int[np.ndarray, "N 2"],
    column_I: Int[np.ndarray, " I"],
    row_J: Int[np.ndarray, " J"],
) -> Int[np.ndarray, "I J"]:
    """How many examples each shape of the grid holds."""
    i_N = np.searchsorted(column_I, lengths_N2[:, 0])
    j_N = np.searchsorted(row_J, lengths_N2[:, 1])
    count_IJ = np.zeros((len(column_I), len(row_J)), np.int64)
    np.add.at(count_IJ, (i_N, j_N), 1)
    return count_IJ.cumsum(0).cumsum(1)
