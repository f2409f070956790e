"""copy, reverse, sort and addition."""

import pytest

from configs.default import get_config
from seq2seq_jax.data.tasks import TASKS
from seq2seq_jax.types import InputError

NAMES = ("copy", "reverse", "sort", "addition")


def generate(name, seed=0, sizes=(300, 30, 30), **task):
    data = get_config().data
    data.seed = seed
    data.train_size, data.valid_size, data.test_size = sizes
    data.task.update(task)
    return TASKS[name](data)


def everything(name, **options):
    return [pair for split in generate(name, **options)[:3] for pair in split]


EXPECTED = {"copy": list, "reverse": lambda words: words[::-1],
            "sort": lambda words: sorted(words, key=int)}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_targets_and_links(name):
    for pair in everything(name, symbols=12, max_length=20):
        source, target = pair.source.split(), pair.target.split()
        assert target == EXPECTED[name](source)
        assert all(source[s] == target[t] for s, t in pair.alignment)
        assert [s for s, _ in pair.alignment] == list(range(len(source)))
        assert sorted(t for _, t in pair.alignment) == list(range(len(target)))


def links(name):
    """All sequences of three zeros and ones."""
    pairs = everything(name, symbols=2, sizes=(6, 1, 1), min_length=3, max_length=3)
    return {pair.source: pair.alignment for pair in pairs}


def test_links_by_hand():
    assert links("sort")["1 0 1"] == ((0, 1), (1, 0), (2, 2))  # stable: the first 1 stays first
    assert links("reverse")["1 0 0"] == ((0, 2), (1, 1), (2, 0))


@pytest.mark.parametrize("base", [2, 10, 16])
def test_addition(base):
    for pair in everything("addition", symbols=base, min_length=6, max_length=12):
        one, other = pair.source.split(" + ")
        numbers = [[int(digit) for digit in text.split()] for text in (one, other, pair.target)]
        values = [sum(d * base**i for i, d in enumerate(digits[::-1])) for digits in numbers]
        assert values[0] + values[1] == values[2]
        assert abs(len(numbers[0]) - len(numbers[1])) <= 1
        assert all(digits[0] or len(digits) == 1 for digits in numbers)
        assert all(0 <= d < base for digits in numbers for d in digits)
        assert pair.alignment is None
    even = everything("addition", min_length=6, max_length=6)
    assert {len(pair.source.split(" + ")[0].split()) for pair in even} == {2, 3}


@pytest.mark.parametrize("name", NAMES)
def test_default_sizes_lengths_and_disjoint_splits(name):
    splits = generate(name, sizes=(0, 0, 0))
    assert [len(split) for split in splits[:3]] == [10_000, 500, 500]
    sources = [pair.source for split in splits[:3] for pair in split]
    assert len(set(sources)) == 11_000
    lengths = {len(source.split()) for source in sources}
    assert lengths == set(range(3, 10 if name == "addition" else 13))


@pytest.mark.parametrize("name", NAMES)
def test_seed(name):
    assert generate(name) == generate(name)
    assert generate(name, seed=1).train != generate(name).train


@pytest.mark.parametrize(
    ("name", "task", "count"),
    [
        ("copy", {"symbols": 2, "min_length": 1, "max_length": 6}, 126),
        ("sort", {"symbols": 5, "min_length": 3, "max_length": 3}, 125),
        ("addition", {"symbols": 10, "max_length": 3}, 100),
        ("addition", {"symbols": 2, "min_length": 4, "max_length": 5}, 8 + 4),
    ],
)
def test_all_examples_can_be_asked_for_and_no_more(name, task, count):
    assert len(everything(name, sizes=(count - 2, 1, 1), **task)) == count
    with pytest.raises(InputError, match=f"{name}: found only {count} .*max_length or lower"):
        generate(name, sizes=(count - 1, 1, 1), **task)


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("copy", {"symbols": 1}, "data.task.symbols = 1: expected 2"),
        ("addition", {"symbols": 1}, "data.task.symbols = 1: the base"),
        ("addition", {"min_length": 2}, "data.task.min_length = 2: expected 3"),
    ],
)
def test_bad_options(name, task, expected):
    with pytest.raises(InputError, match=expected):
        generate(name, **task)
