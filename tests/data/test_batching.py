"""Batches: fixed shapes, every example once an epoch, an order that nothing but the seed moves."""

import itertools
import pickle

import numpy as np
import pytest

from seq2seq_jax.data import iterator as iterators
from seq2seq_jax.data.batching import (
    Batches,
    StackedBatches,
    choose_buckets,
    lengths,
    make_iterator,
    padding_share,
)
from seq2seq_jax.types import InputError


def examples(count: int = 101, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(4, 99, generator.integers(1, 17)) for _ in range(count)]


SOURCE, TARGET = examples(), examples(seed=1)
SHAPES = choose_buckets(lengths(SOURCE, TARGET), 3)


def batches(seed: int | None = 7, **options) -> Batches:
    return Batches(SOURCE, TARGET, SHAPES, options.pop("batch_size", 8), seed, **options)


def equal(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# --- what a batch is


@pytest.mark.parametrize("seed", [None, 7])
def test_every_example_once_an_epoch_with_its_own_ids(seed):
    run = batches(seed)
    for epoch in range(1 if seed is None else 3):
        seen = []
        for i in range(run.per_epoch):
            batch = run[epoch * run.per_epoch + i]
            for source, target, index in zip(*batch[:3], strict=True):
                if index < 0:
                    continue
                seen.append(int(index))
                assert source[source != 0].tolist() == SOURCE[index].tolist()
                assert target[target != 0].tolist() == TARGET[index].tolist()
        assert sorted(seen) == list(range(len(SOURCE)))


def test_shapes_are_fixed_and_filler_rows_hold_padding_only():
    run = batches()
    filler = 0
    for i in range(run.per_epoch):
        source, target, index, _ = run[i]
        assert (source.shape[0], target.shape[0], index.shape) == (8, 8, (8,))
        assert (source.shape[1], target.shape[1]) in SHAPES
        assert source.dtype == target.dtype == index.dtype == np.int32
        assert not source[index < 0].any() and not target[index < 0].any()
        filler += int((index < 0).sum())
    assert filler == run.per_epoch * 8 - len(SOURCE) > 0


def test_an_example_goes_to_the_smallest_shape_that_holds_it():
    run = batches()
    for i in range(run.per_epoch):
        source, target, index, _ = run[i]
        for row in index[index >= 0]:
            s, t = len(SOURCE[row]), len(TARGET[row])
            fitting = [shape for shape in SHAPES if s <= shape[0] and t <= shape[1]]
            assert (source.shape[1], target.shape[1]) == min(fitting, key=sum)


def test_without_a_seed_in_order_and_once():
    run = batches(None)
    assert len(run) == run.per_epoch
    by_shape: dict[tuple[int, int], list[int]] = {}
    for batch in (run[i] for i in range(len(run))):
        shape = (batch.source_BS.shape[1], batch.target_BT.shape[1])
        by_shape.setdefault(shape, []).extend(batch.index_B[batch.index_B >= 0].tolist())
    assert list(by_shape) == sorted(by_shape, key=sum)
    assert all(index == sorted(index) for index in by_shape.values())
    with pytest.raises(IndexError):
        run[len(run)]


def test_shuffling_depends_on_seed_and_epoch_alone():
    run, again, other = batches(), batches(), batches(8)
    order = [2 * run.per_epoch, 0, run.per_epoch, 1]  # random access, also backwards
    assert all(equal(run[i], again[i]) for i in order + order[::-1])

    def epoch(which, number):
        start = number * which.per_epoch
        return [which[start + i].index_B.tolist() for i in range(which.per_epoch)]

    assert epoch(run, 0) != epoch(run, 1)
    assert epoch(run, 0) != epoch(other, 0)
    sizes = [len(SHAPES)] + [run[i].source_BS.shape[1] for i in range(run.per_epoch)]
    assert sizes[1:] != sorted(sizes[1:])  # the batches are shuffled, not only their rows


def test_shapes_come_in_an_order_that_is_the_same_under_every_seed():
    run, other = batches(7), batches(8)
    epochs = [[], []]
    for i in range(2 * run.per_epoch):
        batch, another = run[i], other[i]
        assert [x.shape for x in batch[:3]] == [x.shape for x in another[:3]]
        # Filler rows too: the batch that is not full is the same one.
        assert (batch.index_B < 0).tolist() == (another.index_B < 0).tolist()
        epochs[i // run.per_epoch].append(batch.source_BS.shape[1])
    assert epochs[0] != epochs[1]


def test_batches_of_several_seeds_side_by_side_are_those_of_each_alone():
    run = batches(7)
    seeds = (7, 3, 8)
    stacked = StackedBatches([run.with_seed(seed) for seed in seeds])
    assert len(stacked) == len(run)
    for i in (0, 1, run.per_epoch + 2):
        for member, seed in enumerate(seeds):
            assert equal([x[member] for x in stacked[i][:3]], batches(seed)[i][:3])
    iterator = make_iterator(stacked, 0, prefetch=4)
    assert all(equal(next(iterator), stacked[i]) for i in range(5))
    assert iterator.get_state() == {"next_index": 5}


def test_errors():
    once = batches(None)
    with pytest.raises(IndexError):
        once[len(once)]
    with pytest.raises(InputError, match="example 0 has 3 source and 9 target tokens"):
        Batches([[1] * 3], [[1] * 9], [(4, 8)], 2)
    with pytest.raises(InputError, match="no examples"):
        Batches([], [], [(4, 8)], 2, seed=0)
    assert len(Batches([], [], [(4, 8)], 2)) == 0


# --- which shapes


def work(lengths_N2, shapes, batch_size) -> int:
    """The objective, written out: rows in whole batches times positions, those of the target twice,
    shape by shape."""
    count = dict.fromkeys(shapes, 0)
    for s, t in lengths_N2.tolist():
        fitting = [shape for shape in shapes if s <= shape[0] and t <= shape[1]]
        count[min(fitting, key=sum)] += 1
    return sum(
        (shape[0] + 2 * shape[1]) * -(-n // batch_size) * batch_size for shape, n in count.items()
    )


def brute_force(lengths_N2, count, batch_size) -> int:
    """The least work of all nested sets of at most `count` shapes with sides from the data."""
    sides = [sorted(set(column)) for column in lengths_N2.T.tolist()]
    grid = list(itertools.product(*sides))
    best = None
    for size in range(1, count + 1):
        for shapes in itertools.combinations(grid, size):
            nested = all(
                a[0] <= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(sorted(shapes))
            )
            if nested and (sides[0][-1], sides[1][-1]) in shapes:
                cost = work(lengths_N2, sorted(shapes), batch_size)
                best = cost if best is None else min(best, cost)
    return best


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_chosen_shapes_do_the_least_work(seed, count, batch_size):
    generator = np.random.default_rng(seed)
    lengths_N2 = generator.choice([1, 2, 5, 8, 17], (25, 2))
    shapes = choose_buckets(lengths_N2, count, batch_size)
    assert 1 <= len(shapes) <= count
    assert work(lengths_N2, shapes, batch_size) == brute_force(lengths_N2, count, batch_size)


def test_shapes_hold_all_and_many_lengths_are_rounded_up():
    generator = np.random.default_rng(0)
    lengths_N2 = generator.integers(1, 700, (500, 2))
    shapes = choose_buckets(lengths_N2, 5)
    assert (np.array(shapes[-1]) >= lengths_N2.max(axis=0)).all()
    assert all(side % 16 == 0 for shape in shapes for side in shape)  # 44 multiples of 16
    assert list(shapes) == sorted(shapes)


def test_choosing_needs_examples():
    with pytest.raises(InputError, match="no examples"):
        choose_buckets(np.ones((0, 2), int), 2)


def test_padding_share_is_what_the_batches_hold():
    run = batches()
    filled = [run[i] for i in range(run.per_epoch)]
    tokens = sum((b.source_BS != 0).sum() + (b.target_BT != 0).sum() for b in filled)
    positions = sum(b.source_BS.size + b.target_BT.size for b in filled)
    assert padding_share(run.lengths_N2, SHAPES, 8) == pytest.approx(1 - tokens / positions)
    assert padding_share(np.array([[4, 4]]), [(4, 4)]) == 0


# --- the iterator


@pytest.mark.parametrize("threads", [0, 4])
def test_the_order_is_kept_and_a_state_goes_on(threads, monkeypatch):
    monkeypatch.setitem(iterators.THREADS, "cpu", threads)
    run = batches()
    iterator = make_iterator(run, 0, prefetch=4)
    assert all(equal(next(iterator), run[i]) for i in range(15))
    state = iterator.get_state()
    assert equal(next(iterator), run[15])
    iterator.set_state(state)
    assert all(equal(next(iterator), run[i]) for i in range(15, 40))


def test_worker_processes_give_the_same_batches_and_states():
    run = batches()
    iterator = make_iterator(run, 2, prefetch=4)
    iterator.set_state({"next_index": 3})
    assert all(equal(next(iterator), run[i]) for i in range(3, 15))
    state = iterator.get_state()
    iterator.close()
    without = make_iterator(run, 0, prefetch=4)
    without.set_state(state)
    assert equal(next(without), run[15])


def test_a_pass_ends_and_has_no_other_positions():
    run = batches(None)
    iterator = make_iterator(run, 0, prefetch=2)
    assert iterator.get_state() == {"next_index": 0}
    iterator.set_state({"next_index": len(run) - 2})
    rest = [batch.index_B.tolist() for batch in iterator]
    assert rest == [run[i].index_B.tolist() for i in (len(run) - 2, len(run) - 1)]
    with pytest.raises(InputError, match=f"outside the run's {len(run)} batches"):
        iterator.set_state({"next_index": len(run) + 1})


def test_position_is_an_item_of_an_orbax_checkpoint(tmp_path):
    import grain
    import orbax.checkpoint as ocp

    run = batches()
    iterator = make_iterator(run, 0, prefetch=8)
    for _ in range(run.per_epoch + 3):
        next(iterator)
    with ocp.CheckpointManager(tmp_path, item_names=("data",)) as manager:
        manager.save(1, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(iterator)))
        manager.wait_until_finished()
        restored = make_iterator(run, 0, prefetch=8)
        manager.restore(
            1, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(restored))
        )
    assert all(equal(next(restored), run[run.per_epoch + i]) for i in range(3, 20))


def test_pickled_batches_are_the_same():
    run = batches()
    before = run[3]
    assert equal(pickle.loads(pickle.dumps(run))[3], before)
