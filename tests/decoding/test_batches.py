import itertools

import numpy as np
import pytest

from seq2seq_jax.decoding import batches
from seq2seq_jax.decoding.batches import cut_batches


def cost(cuts, steps, fixed):
    return sum((cut.rows + fixed) * steps[cut.end - 1] for cut in cuts)


def cheapest(steps, sizes, fixed):
    """Every way to cut."""
    best = np.inf
    for count in range(len(steps)):
        for inner in itertools.combinations(range(1, len(steps)), count):
            bounds = list(itertools.pairwise([0, *inner, len(steps)]))
            rows = [min((s for s in sizes if s >= b - a), default=np.inf) for a, b in bounds]
            each = zip(bounds, rows, strict=True)
            best = min(best, sum((row + fixed) * steps[b - 1] for (_, b), row in each))
    return best


@pytest.mark.parametrize("fixed", [0, 1, 50])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_cut_is_cheaper(fixed, seed, monkeypatch):
    monkeypatch.setitem(batches.STEP, "cpu", fixed)
    steps = sorted(np.random.default_rng(seed).integers(1, 30, 9).tolist())
    assert cost(cut_batches(steps, 4), steps, fixed) == cheapest(steps, {4, 2}, fixed)


@pytest.mark.parametrize("count", [0, 1, 7, 100])
@pytest.mark.parametrize("rows", [1, 2, 16])
def test_each_source_stands_in_one_batch_that_has_room(count, rows):
    steps = sorted(np.random.default_rng(count).integers(1, 60, count).tolist())
    cuts = cut_batches(steps, rows)
    assert [i for cut in cuts for i in range(cut.start, cut.end)] == list(range(count))
    assert all(cut.end - cut.start <= cut.rows in (rows, max(1, rows // 2)) for cut in cuts)


def test_a_few_long_sources_do_not_make_many_wait():
    assert cut_batches([5] * 64 + [40] * 64, 128) == [(0, 64, 64), (64, 128, 64)]
    assert cut_batches([5] * 128, 128) == [(0, 128, 128)]
