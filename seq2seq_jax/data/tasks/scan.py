"""SCAN (Lake & Baroni 2018): navigation commands and their actions, with the published splits.

The grammar has 20,910 commands; `commands()` lists them all with their interpretation, so that
no download is needed. The tests compare the result with the published files.

    C -> S and S | S after S | S        S -> V twice | V thrice | V
    V -> D[1] opposite D[2] | D[1] around D[2] | D | U       D -> U left | U right | turn left ...
    U -> walk | look | run | jump
"""

from functools import cache

import ml_collections

from seq2seq_jax.data.tasks.sampling import Draw
from seq2seq_jax.types import InputError, Pair, Splits

VALID_SIZE = 1_000
TEST_SIZE = 4_182  # of the simple split; its training split has the other 16,728
LONGEST_TRAINED = 22  # actions, length split
# Each primitive alone is repeated until it makes up about a tenth of the training split.
REPEATED = {"addprim_jump": ("jump", 1_467), "addprim_turn_left": ("turn left", 2_189)}


@cache
def commands() -> dict[str, str]:
    """Every command with its actions, in the order of the grammar."""
    turns = {side: (f"I_TURN_{side.upper()}",) for side in ("left", "right")}
    acts = {act: (f"I_{act.upper()}",) for act in ("walk", "look", "run", "jump")}
    phrases: dict[str, tuple[str, ...]] = dict(acts)
    for side, turn in turns.items():
        for act, action in (acts | {"turn": ()}).items():
            phrases[f"{act} {side}"] = turn + action
            phrases[f"{act} opposite {side}"] = turn + turn + action
            phrases[f"{act} around {side}"] = (turn + action) * 4
    times = (("", 1), (" twice", 2), (" thrice", 3))
    parts = {p + word: action * n for p, action in phrases.items() for word, n in times}
    whole = dict(parts)
    for first, before in parts.items():
        for second, after in parts.items():
            whole[f"{first} and {second}"] = before + after
            whole[f"{first} after {second}"] = after + before
    return {command: " ".join(actions) for command, actions in whole.items()}


def generate(data: ml_collections.ConfigDict) -> Splits:
    """The published split data.task.split; `simple` is a random one of the published sizes.

    The published splits have no validation part: data.valid_size pairs (0: VALID_SIZE) are held
    out of train by data.seed. In the add-primitive splits the copies of the primitive stay in
    train. data.train_size and data.test_size must be 0, because the splits are fixed.
    """
    split = data.task.split
    if data.test_size:
        raise InputError(
            f"data.test_size = {data.test_size}: the test sets of scan are fixed; set it to 0"
        )
    draw = Draw(data.seed)
    train, test, copies = _published(split, draw)
    valid_size = data.valid_size or VALID_SIZE
    if not 0 < valid_size < len(train):
        raise InputError(
            f"data.valid_size = {data.valid_size}: expected 1 to {len(train) - 1}, "
            f"pairs held out of the training split of scan {split}"
        )
    draw.shuffle(train)
    valid, train = train[:valid_size], train[valid_size:] + copies
    draw.shuffle(train)
    notes = [f"scan {split}: {valid_size} of train held out as valid"]
    if data.train_size > len(train):
        raise InputError(
            f"data.train_size = {data.train_size}: scan {split} has {len(train)} pairs for training"
        )
    if data.train_size:
        notes.append(f"scan {split}: a random sample of {data.train_size} of {len(train)} pairs")
        train = train[: data.train_size]
    return Splits(train, valid, test, tuple(notes))


def _published(split: str, draw: Draw) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """(train, test, copies of the primitive that belong to train)."""
    pairs = [Pair(command, actions) for command, actions in commands().items()]
    if split == "simple":
        draw.shuffle(pairs)
        return pairs[TEST_SIZE:], pairs[:TEST_SIZE], []
    if split == "length":
        trained = [len(p.target.split()) <= LONGEST_TRAINED for p in pairs]
        copies = []
    else:
        primitive, count = REPEATED[split]
        trained = [primitive not in p.source for p in pairs]
        copies = [Pair(primitive, commands()[primitive])] * count
    train = [p for p, seen in zip(pairs, trained, strict=True) if seen]
    test = [p for p, seen in zip(pairs, trained, strict=True) if not seen and [p] != copies[:1]]
    return train, test, copies
