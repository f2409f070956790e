"""Every optimisation gives the same numbers as its plain version, and its arm does without it."""

import functools
import sys

import jax
import numpy as np
import pytest

from benchmarks import arms
from benchmarks.plain import PLAIN, off
from seq2seq_jax.benchmarking import workloads
from seq2seq_jax.decoding import topk
from seq2seq_jax.training import either, some_rows
from seq2seq_jax.types import PAD
from tests.benchmarking.tiny import TINY
from tests.small import ROUNDING

# At this rate one update shows its gradient, to the same digits as the parameters.
SMALL = {**TINY, **arms.CONCAT, "model.encoder.cell": "gru", "train.learning_rate": 3.0}
TRANSFORMER = SMALL | {
    "model.embedding": 4,
    "model.encoder.kind": "transformer",
    "model.decoder.kind": "transformer",
    "model.transformer.heads": 2,
    "model.transformer.mlp_width": 6,
}
CASES = {case.name: case for case in arms.CASES}


def padded_batch(*arguments):
    """With rows that end early, and one that is empty."""
    batch = workloads.full_batch(*arguments)
    batch.source_BS[1, 2:] = batch.target_BT[0, 3:] = batch.target_BT[2, 1:] = PAD
    batch.source_BS[3], batch.target_BT[3] = PAD, PAD
    return batch


@pytest.fixture(autouse=True, scope="module")
def few():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workloads, "EXAMPLES", 30)
        patch.setattr(arms, "full_batch", padded_batch)
        patch.setattr(arms, "SECONDS", 0)
        patch.setattr(arms, "SENTENCES", {"greedy": 6, "many": 6, "beam": 6})
        patch.setattr(topk, "BLOCK", 4)  # of 2 x 43 words
        patch.setattr(some_rows, "WORTH", {"cpu": 0})
        patch.setattr(either, "WORTH", {"cpu": 0})
        patch.setattr(arms, "FIRST", 4)
        patch.setattr(arms, "MEMBERS", 2)
        yield


@functools.cache
def with_all(*which):
    """The numbers of the arm with everything on."""
    return result(small(*which))


def small(kind, transformer, sampled):
    changes = TRANSFORMER if transformer else SMALL
    if sampled:
        changes = changes | arms.HALF
    if kind == "beam":
        changes = changes | {"evaluation.beam": 2}
    return arms.Case("", kind, "g2p", (5, 6), changes)


def result(case):
    arm = arms.KINDS[case.kind](case)
    arm.seconds()
    return jax.device_get(arm.result())


ROUNDING_OTHERWISE = {"bfloat16", "narrow_slopes"}
# Of trained runs: tests/decoding/test_shrinking.py.
ELSEWHERE = {*ROUNDING_OTHERWISE, "shapes", "shrinking"}


@pytest.mark.parametrize("name", sorted(PLAIN.keys() - ELSEWHERE))
def test_an_optimisation_changes_no_numbers(name):
    case = CASES[name]
    which = case.kind, case.workload == "transformer", "teacher_forcing.ratio" in case.changes
    wanted = with_all(*which)
    with off(name) as instead:
        found = result(small(*which))
    assert any(mock.called for mock in instead)  # else both arms are the same
    leaves, structure = jax.tree.flatten(found)
    wanted, same = jax.tree.flatten(wanted)
    assert structure == same
    for one, other in zip(leaves, wanted, strict=True):
        if isinstance(other, str):
            assert one == other
        else:
            np.testing.assert_allclose(one, other, **ROUNDING)


@pytest.mark.parametrize("name", sorted(ROUNDING_OTHERWISE))
def test_an_optimisation_that_rounds_stays_close(name):
    case = arms.Case("", "update", "g2p", (5, 6), SMALL | arms.BFLOAT16)
    near = result(case)
    with off(name) as instead:
        exact = result(case)
    assert any(mock.called for mock in instead)
    near, exact = (np.concatenate([*map(np.ravel, jax.tree.leaves(x))]) for x in (near, exact))
    # bfloat16 keeps 8 bits.
    assert 0 < np.linalg.norm(near - exact) < 2**-7 * np.linalg.norm(exact)


def test_other_shapes_hold_the_same_examples():
    config = workloads.make_config("g2p", {**SMALL, "data.buckets": 2})
    examples = workloads.make_examples("g2p", config)
    wanted = workloads.make_batches(examples, config)
    with off("shapes") as instead:
        found = workloads.make_batches(examples, config)
    assert instead[0].called
    assert all(side % 8 == 0 for shape in found.shapes for side in shape)
    assert found.shapes != wanted.shapes
    assert rows(found) == rows(wanted)


def rows(batches):
    """The examples of an epoch."""
    found = {}
    for i in range(batches.per_epoch):
        for source, target, index in zip(*batches[i][:3], strict=True):
            if index >= 0:
                found[int(index)] = tuple(source[source != PAD]), tuple(target[target != PAD])
    return found


def test_everything_is_as_it_was_afterwards():
    before = {name: vars(plain.owner)[plain.name] for name, plain in PLAIN.items()}
    for name, plain in PLAIN.items():
        with off(name):
            assert vars(plain.owner)[plain.name] is not before[name]
        assert vars(plain.owner)[plain.name] is before[name]


def test_every_optimisation_has_a_case():
    assert {*CASES, *(case.name for case in arms.OF_RUN)} == set(PLAIN)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--shape=9", "'9': source x target positions, such as 9x14"),
        ("--shape=9x0", "'9x0': source x target"),
        ("--only=shrinking", "--only=shrinking is measured with --run"),
        ("--run=RUN --only=loss", "--only=loss is measured without --run"),
    ],
)
def test_wrong_flags(flags, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["arms.py", *flags.split()])
    with pytest.raises(SystemExit, match="2"):
        arms.main()
    assert words in capsys.readouterr().err


def test_arms_take_turns(monkeypatch):
    log = []

    def kind(case):
        plain = PLAIN[case.name]
        on = vars(plain.owner)[plain.name] is normal

        def seconds():
            log.append((on, vars(plain.owner)[plain.name] is normal))
            return 1.0 if on else 2.0

        return arms.Arm(seconds, lambda: None, f"on {on}")

    case = CASES["argmax"]._replace(workload="small")
    normal = vars(PLAIN["argmax"].owner)["argmax"]
    monkeypatch.setitem(arms.KINDS, "greedy", kind)
    pair, seconds = arms.pair(case, 3)
    assert seconds == [[1.0] * 3, [2.0] * 3]
    # Each arm built and run with its own functions, and nobody always first.
    assert log == [(on, on) for on in (False, True, True, False, False, True)]
    assert arms.row(case, pair, seconds) == (
        "| argmax | greedy, `small` | 1,000.0 | 2,000.0 | 0.50 [0.50 to 0.50, 3 pairs] | "
        "on True / on False |"
    )
