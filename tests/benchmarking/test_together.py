"""Members in one program beside one after another: what is counted, never how long it took."""

import json

import numpy as np
import pytest

from seq2seq_jax.benchmarking import benchmark, machine, population, together, workloads
from seq2seq_jax.data.batching import Batches
from seq2seq_jax.training.member import Lane
from seq2seq_jax.types import EOS, InputError
from tests.benchmarking.tiny import TINY


def test_the_result_of_three_members(monkeypatch):
    monkeypatch.setattr(workloads, "EXAMPLES", 30)
    monkeypatch.setattr(machine, "SPIN", 0.001)
    config, quiet = workloads.make_config("g2p", TINY), machine.Quiet(0.0, 1.0)
    result = together.benchmark_population("g2p", config, quiet, 3, windows=4, updates=1)

    found = json.loads(json.dumps(result))
    alone, all_ = found["alone"], found["together"]
    assert all_["state_bytes"] == 3 * alone["state_bytes"]
    assert all_["temporary_bytes"] > alone["temporary_bytes"]
    ratios = 3 * np.array(alone["seconds"]["windows"]) / all_["seconds"]["windows"]
    np.testing.assert_allclose(found["ratio"]["windows"], ratios)
    # Both are rates of the same tokens, one after another and at once.
    rates = all_["tokens_per_second"]["windows"], alone["tokens_per_second"]["windows"]
    np.testing.assert_allclose(np.divide(*rates), ratios)

    text = benchmark.table(together.rows(found))
    for words in ("members", "one after another / in one program", "4 pairs]", "MiB", "quiet"):
        assert words in text


def test_members_by_cudnn_are_refused():
    config = workloads.make_config("luong", {"model.encoder.kernel": "cudnn"})
    with pytest.raises(InputError, match="cudnn computes one run at a time"):
        together.benchmark_population("luong", config, machine.Quiet(0, 1), 2, windows=1, updates=1)


class FakeMembers:
    """Takes a second for each run and update."""

    temporary_bytes = staticmethod(lambda batch: 0)
    state_bytes = staticmethod(lambda: 0)

    def __init__(self, lanes, graphdef, *, shared=False, step=0):
        self.lanes, self.shared = lanes, shared

    def seconds(self, batches):
        axes = 2 if self.shared or len(self.lanes) == 1 else 3
        assert all(batch.target_BT.ndim == axes for batch in batches)
        return float(len(self.lanes) * len(batches))


@pytest.mark.parametrize("seeds", [(3, 4), (3, 3)], ids=["own order", "shared order"])
def test_tokens_of_all_members_are_counted(monkeypatch, seeds):
    monkeypatch.setattr(population, "Members", FakeMembers)
    rows = [[5] * (n - 1) + [EOS] for n in (2, 3, 3, 4, 8, 8)]
    batches = Batches(rows, rows, [(4, 4), (8, 8)], 4, seed=0)
    each = [batches.with_seed(seed) for seed in seeds]
    lanes = [object.__new__(Lane)] * 2  # nobody looks at them
    found = population.time_population(lanes, None, each, 3, 2)
    assert found.shape == (8, 8)  # 32 positions, if half of them filler: the most
    assert found.targets == [2 * 16] * 3
    assert (found.alone.seconds, found.together.seconds) == ([1.0] * 3, [2.0] * 3)
    assert found.share == 0.75
