import itertools
import math

import jax
import numpy as np
import pytest

from seq2seq_jax.evaluation.diagnostics import SLACK, AlignmentSums, alignment_sums, diagnostics
from seq2seq_jax.types import EOS, PAD

SUMS = jax.jit(alignment_sums)


def reference(alignments):
    """The definitions, one example (T x S, real positions alone) after another, in float64."""
    entropies, coverages, forwards, moves = [], [], 0, 0
    for alignment in alignments:
        alignment = np.asarray(alignment, np.float64)
        for row in alignment:
            entropies.append(-sum(a * math.log(a) for a in row if a > 0))
        coverages += [min(1.0, total) for total in alignment.sum(axis=0)]
        expected = [
            np.average(range(len(row)), weights=row) if row.any() else None for row in alignment
        ]
        for before, after in itertools.pairwise(expected):
            if before is not None and after is not None:
                moves += 1
                forwards += after >= before - SLACK
    numbers = np.mean(entropies), np.mean(coverages), forwards / moves if moves else None
    names = ("alignment_entropy", "alignment_coverage", "alignment_monotonicity")
    known = {n: x for n, x in zip(names, numbers, strict=True) if x is not None}
    return known | {"padding_weight": 0.0}


def batched(heads, targets, sources):
    """heads: for each, one T x S array an example. Sizes of the batch: the greatest, or more."""
    count = len(heads[0])
    alignment_BTNS = np.zeros((count, targets, len(heads), sources), np.float32)
    for head, examples in enumerate(heads):
        for row, example in enumerate(examples):
            t, s = np.shape(example)
            alignment_BTNS[row, :t, head, :s] = example
    lengths_B2 = np.array([np.shape(example) for example in heads[0]])
    valid_BS = np.arange(sources) < lengths_B2[:, 1:]
    target_BT = np.where(np.arange(targets) < lengths_B2[:, :1], EOS, PAD)
    return alignment_BTNS, valid_BS, target_BT


def measured(*heads, targets=5, sources=5):
    return diagnostics(SUMS(*batched(heads, targets, sources)))


def random_examples(seed, shapes=((4, 5), (5, 3), (1, 1), (2, 4))):
    rng = np.random.default_rng(seed)
    return [rng.dirichlet(np.full(s, 0.5), t) for t, s in shapes]


@pytest.mark.parametrize(
    ("alignment", "entropy", "coverage", "monotonicity"),
    [
        (np.full((4, 4), 1 / 4), math.log(4), 1.0, 1.0),  # level: rounding is no step back
        (np.full((5, 3), 1 / 3), math.log(3), 1.0, 1.0),
        (np.full((2, 5), 1 / 5), math.log(5), 2 / 5, 1.0),
        (np.eye(4), 0.0, 1.0, 1.0),
        (np.eye(4)[::-1], 0.0, 1.0, 0.0),
        (np.eye(4)[[0, 0, 0, 1]], 0.0, 2 / 4, 1.0),  # looking three times covers no more
        (np.eye(4)[[0, 2, 1, 3]], 0.0, 1.0, 2 / 3),
        # A step without weight: no entropy, and no move to it or from it.
        (np.eye(4)[[1, 0, 2, 3]] * [[1], [0], [1], [1]], 0.0, 3 / 4, 1.0),
        (np.eye(4)[[3, 0, 2, 1]] * [[1], [0], [1], [1]], 0.0, 3 / 4, 0.0),
        # Weights that do not sum to 1 have the same expected position: 1.5, then 1.
        ([[0, 0.1, 0.1, 0], [0, 0.5, 0, 0]], 0.1 * math.log(10) + 0.25 * math.log(2), 0.7 / 4, 0),
    ],
)
def test_by_hand(alignment, entropy, coverage, monotonicity):
    assert measured([alignment]) == pytest.approx(
        {
            "alignment_entropy": entropy,
            "alignment_coverage": coverage,
            "alignment_monotonicity": monotonicity,
            "padding_weight": 0.0,
        },
        rel=1e-6,
        abs=1e-7,
    )


def test_a_small_step_back_is_rounding_and_a_greater_one_is_not():
    def back(by):
        return measured([[[0, 1, 0], [by, 1 - by, 0]]])["alignment_monotonicity"]

    assert back(SLACK / 2) == 1.0
    assert back(SLACK * 2) == 0.0


def test_sums_are_the_definitions():
    examples = random_examples(0)
    assert measured(examples) == pytest.approx(reference(examples), rel=1e-5)


def test_each_head_and_the_mean_over_heads():
    heads = [random_examples(0), random_examples(1), random_examples(2)]
    found = measured(*heads)
    each = [reference(examples) for examples in heads]
    expected = {name: np.mean([head[name] for head in each]) for name in each[0]}
    for number, head in enumerate(each):
        expected |= {f"{name}/head{number}": value for name, value in head.items()}
    assert found == pytest.approx(expected, rel=1e-5)
    assert found["alignment_entropy/head0"] != pytest.approx(found["alignment_entropy/head1"])


def test_padding_and_filler_rows_count_nothing():
    examples = random_examples(3)
    alignment_BTNS, valid_BS, target_BT = batched([examples], 5, 5)
    # What stands in steps behind the target's end, and in filler rows, is of no account.
    padded = np.pad(alignment_BTNS, ((0, 2), (0, 3), (0, 0), (0, 2)))
    padded[:, 5:] = padded[4:] = 1 / 7
    valid_BS, target_BT = np.pad(valid_BS, ((0, 2), (0, 2))), np.pad(target_BT, ((0, 2), (0, 3)))
    found = diagnostics(SUMS(padded, valid_BS, target_BT))
    assert found == pytest.approx(measured(examples), rel=1e-6)
    assert found["padding_weight"] == 0.0


def test_batches_add_up():
    examples = random_examples(4)
    parts = [SUMS(*batched([part], 5, 5)) for part in (examples[:1], examples[1:])]
    together = AlignmentSums(*(a + b for a, b in zip(*parts, strict=True)))
    assert diagnostics(together) == pytest.approx(measured(examples), rel=1e-6)


def test_weight_on_padding_is_found_in_the_head_that_has_it():
    alignment_BTNS, valid_BS, target_BT = batched([random_examples(5)] * 2, 5, 5)
    tokens = 4 + 5 + 1 + 2
    alignment_BTNS[1, 2, 1, 3:] = 0.02, 0.01  # the second source has 3 positions
    found = diagnostics(SUMS(alignment_BTNS, valid_BS, target_BT))
    assert found["padding_weight/head0"] == 0.0
    assert found["padding_weight/head1"] == pytest.approx(0.03 / tokens, rel=1e-6)
    assert found["padding_weight"] == pytest.approx(0.015 / tokens, rel=1e-6)
    # It is weight on nothing: the other numbers do not see it.
    assert found["alignment_entropy/head1"] == found["alignment_entropy/head0"]
    assert found["alignment_coverage/head1"] == found["alignment_coverage/head0"]


def test_no_move_no_monotonicity():
    assert "alignment_monotonicity" not in measured([[[0.5, 0.5]], [[1.0]]])
