"""The fixed workloads: like the data they are named after, and each can be built."""

import jax
import numpy as np
import pytest

from seq2seq_jax.benchmarking import workloads
from seq2seq_jax.commands import benchmark
from seq2seq_jax.data.batching import lengths
from seq2seq_jax.models.seq2seq import initialize
from seq2seq_jax.types import EOS, PAD, SPECIALS, InputError

NAMES = list(workloads.WORKLOADS)


def test_the_command_knows_the_names():
    assert benchmark.WORKLOADS == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_workload_builds(name):
    config = workloads.make_config(name, {})
    key = jax.random.key(0)
    jax.eval_shape(lambda key: initialize(config.model, 30, 40, key)[1], key)


def test_overrides_are_checked():
    assert workloads.make_config("luong", {"data.batch_size": 16}).data.batch_size == 16
    with pytest.raises(InputError, match=r"model\.attention\.score"):
        workloads.make_config("luong", {"model.attention.score": "concta"})
    for name in ("luong", "small"):
        with pytest.raises(InputError, match=r"data\.name: a workload has data of its own"):
            workloads.make_config(name, {"data.name": "copy"})
        with pytest.raises(InputError, match=r"train\.guided_alignment: .* no gold links"):
            workloads.make_config(name, {"train.guided_alignment": 1.0})


def test_lengths_are_those_of_the_real_data():
    """Mean lengths of Multi30k with end marks, counted over its training split: 13.44 and 14.00,
    standard deviations 4.18 and 4.01, correlation 0.862."""
    drawn_N2 = workloads.MULTI30K.draw(29_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn_N2.mean(0), [13.44, 14.00], rtol=0.01)
    np.testing.assert_allclose(drawn_N2.std(0), [4.18, 4.01], rtol=0.03)
    assert np.corrcoef(drawn_N2.T)[0, 1] == pytest.approx(0.862, abs=0.02)
    assert (drawn_N2.min(0) >= [3, 5]).all()
    assert (drawn_N2.max(0) <= [45, 41]).all()


def test_examples_are_ids_that_end_and_never_change(monkeypatch):
    monkeypatch.setattr(workloads, "EXAMPLES", 50)
    config = workloads.make_config("g2p", {})
    examples = workloads.make_examples("g2p", config)
    assert [len(v) for v in examples.vocabularies] == [31, 43]
    for rows, size in ((examples.source, 31), (examples.target, 43)):
        assert len(rows) == 50
        for row in rows:
            assert row[-1] == EOS
            assert PAD not in row
            assert ((row[:-1] >= len(SPECIALS)) & (row[:-1] < size)).all()
    again = workloads.make_examples("g2p", workloads.make_config("g2p", {"seed": 5}))
    assert (lengths(*examples[:2]) == lengths(*again[:2])).all()
    assert (np.concatenate(examples.source) == np.concatenate(again.source)).all()


def test_batches_come_in_the_order_that_a_training_has(monkeypatch):
    monkeypatch.setattr(workloads, "EXAMPLES", 30)
    changes = {"seed": 3, "data.batch_size": 8}  # data.seed is 0
    seeds = []
    for order in ("seed", "shared"):
        config = workloads.make_config("g2p", {**changes, "data.order": order})
        seeds.append(workloads.make_batches(workloads.make_examples("g2p", config), config).seed)
    assert seeds == [3, 0]
