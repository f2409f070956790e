"""SCAN equals the published data: by hash everywhere, pair by pair where the files are."""

import gzip
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from configs.default import get_config
from seq2seq_jax.config_checks import CHOICES
from seq2seq_jax.data.tasks import TASKS, scan
from seq2seq_jax.types import InputError

SPLITS = CHOICES["data.task.split"]
PUBLISHED = Path(__file__).parents[3] / ".." / "shared" / "data" / "scan"
# SHA-256 of the sorted lines `command TAB actions NEWLINE`, computed from the published files:
# (train, test); for `simple`, whose division is random, of both together.
SHA256 = {
    "simple": ("80583994a620d9cbc1ae953a0d94ce500df62a866bee15bce89d32be4e5be573",),
    "length": (
        "5858272319dfc0a7ae8fd17c301b8a46e4e90339ab09297037ee9ce307cff741",
        "a959bcb891448e37059941b198a13ec99da2780923df7dda04b77b5f74d9af0b",
    ),
    "addprim_jump": (
        "84c912b45efb8c2a6077367f7d00a8f66003253cef25fbcbbeb377888d9a31dd",
        "ae1617c56a64dc37f45d104457ce7a214d124439bcddc97bea0af0f7b5e7491b",
    ),
    "addprim_turn_left": (
        "938081e8b42f218de3fffd176e0387d7f607a6e956407b2627bfd4520771580e",
        "e362c6af4b8084d8795795a48df3a18ae2fa68d65ae2bdf08ce5599fd25377a1",
    ),
}
SIZES = {
    "simple": (16_728, 4_182), "length": (16_990, 3_920), "addprim_jump": (14_670, 7_706),
    "addprim_turn_left": (21_890, 1_208),
}  # fmt: skip


def generate(split, seed=0, **sizes):
    data = get_config().data
    data.seed, data.task.split = seed, split
    for key, size in sizes.items():
        data[key] = size
    return TASKS["scan"](data)


def lines(pairs):
    return sorted(f"{pair.source}\t{pair.target}\n" for pair in pairs)


def digest(sorted_lines):
    return hashlib.sha256("".join(sorted_lines).encode()).hexdigest()


def published(part, split):
    path = PUBLISHED / f"tasks_{part}_{split}.txt.gz"
    if not path.exists():
        pytest.skip("the published SCAN files are not in ../shared/data/scan")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return sorted(
            line.removeprefix("IN: ").replace(" OUT: ", "\t", 1) for line in file
        )  # fmt: skip


def parts(split):
    made = generate(split)
    train, test = lines(made.train + made.valid), lines(made.test)
    return (sorted(train + test),) if split == "simple" else (train, test)


@pytest.mark.parametrize("split", SPLITS)
def test_equals_the_published_data_by_hash(split):
    assert tuple(map(digest, parts(split))) == SHA256[split]


@pytest.mark.parametrize("split", SPLITS)
def test_equals_the_published_data_pair_by_pair(split):
    files = published("train", split), published("test", split)
    if split == "simple":
        files = (sorted(files[0] + files[1]),)
    assert parts(split) == files
    assert tuple(map(digest, files)) == SHA256[split]


@pytest.mark.parametrize("split", SPLITS)
def test_sizes(split):
    made = generate(split, valid_size=700)
    assert (len(made.train) + len(made.valid), len(made.test)) == SIZES[split]
    assert len(made.valid) == 700 and len(generate(split).valid) == scan.VALID_SIZE
    train, valid, test = ({pair.source for pair in part} for part in made[:3])
    assert not train & valid and not train & test and not valid & test


def test_interpretations_written_by_hand():
    for command, actions in {
        "jump": "JUMP",
        "turn left": "TURN_LEFT",
        "walk right twice": "TURN_RIGHT WALK TURN_RIGHT WALK",
        "turn opposite left": "TURN_LEFT TURN_LEFT",
        "run around left": "TURN_LEFT RUN TURN_LEFT RUN TURN_LEFT RUN TURN_LEFT RUN",
        "look opposite right and jump": "TURN_RIGHT TURN_RIGHT LOOK JUMP",
        "walk thrice after run left": "TURN_LEFT RUN WALK WALK WALK",
    }.items():
        expected = " ".join(f"I_{action}" for action in actions.split())
        assert scan.commands()[command] == expected


def test_length_split_divides_by_actions():
    made = generate("length")
    assert max(len(p.target.split()) for p in made.train + made.valid) == 22
    assert min(len(p.target.split()) for p in made.test) == 24


def test_primitive_is_repeated_in_train_alone():
    made = generate("addprim_jump")
    counts = Counter(pair.source for pair in made.train)
    assert counts["jump"] == 1_467 and counts.most_common(2)[1][1] == 1
    assert {pair.source for pair in made.train if "jump" in pair.source} == {"jump"}
    assert not any("jump" in pair.source for pair in made.valid)
    assert all("jump" in pair.source for pair in made.test)


def test_seed_decides_the_random_parts():
    assert generate("simple") == generate("simple")
    one, other = generate("simple", seed=1), generate("simple", seed=2)
    assert lines(one.test) != lines(other.test)
    one, other = generate("length", seed=1), generate("length", seed=2)
    assert lines(one.test) == lines(other.test) and lines(one.valid) != lines(other.valid)


def test_train_size_takes_nested_samples_and_leaves_the_rest_alone():
    whole, larger, smaller = (generate("simple", train_size=size) for size in (0, 209, 20))
    assert larger.valid == smaller.valid == whole.valid and smaller.test == whole.test
    assert len(larger.train) == 209 and len(set(larger.train)) == 209
    assert smaller.train == larger.train[:20] and set(larger.train) < set(whole.train)
    assert smaller.notes[1:] == ("scan simple: a random sample of 20 of 15728 pairs",)


def test_notes_tell_about_the_held_out_pairs():
    assert generate("length").notes == ("scan length: 1000 of train held out as valid",)


@pytest.mark.parametrize(
    ("split", "sizes", "expected"),
    [
        ("simple", {"train_size": 15_729}, "data.train_size = 15729: scan simple has 15728 pairs"),
        ("simple", {"test_size": 5}, "data.test_size = 5: the test sets of scan are fixed"),
        ("length", {"valid_size": 16_990}, "valid_size = 16990: expected 1 to 16989"),
        ("length", {"valid_size": -1}, "valid_size = -1: expected 1 to"),
    ],
)
def test_impossible_requests(split, sizes, expected):
    with pytest.raises(InputError, match=expected):
        generate(split, **sizes)
