"""Members in one program beside one after another: what is counted, never how long it took."""

import json

import numpy as np
import pytest

from seq2seq_jax.benchmarking import benchmark, machine, together, workloads
from tests.benchmarking.tiny import TINY


@pytest.mark.parametrize("order", ["seed", "shared"])
def test_the_result_of_three_members(monkeypatch, order):
    monkeypatch.setattr(workloads, "EXAMPLES", 30)
    monkeypatch.setattr(machine, "SPIN", 0.001)
    config, quiet = workloads.make_config("g2p", {**TINY, "data.order": order}), machine.Quiet(0, 1)
    result = together.benchmark_population("g2p", config, quiet, 3, windows=4, updates=2)

    assert json.loads(json.dumps(result)) == result
    alone, all_ = result["alone"], result["together"]
    # A state beside another differs by no more than its numbers: three times as many.
    assert all_["state_bytes"] == 3 * alone["state_bytes"]
    assert all_["temporary_bytes"] > alone["temporary_bytes"]
    ratios = 3 * np.array(alone["seconds"]["windows"]) / all_["seconds"]["windows"]
    np.testing.assert_allclose(result["ratio"]["windows"], ratios)
    # Both are rates of the same tokens, one after another and at once.
    rates = all_["tokens_per_second"]["windows"], alone["tokens_per_second"]["windows"]
    np.testing.assert_allclose(np.divide(*rates), ratios)
    # 30 examples in batches of 8: two updates of three members see 2 x 3 x 6 or 8 of them.
    tokens = np.multiply(rates[0], all_["seconds"]["windows"])
    mean = sum(map(len, workloads.make_examples("g2p", config).target)) / 30
    assert (0.6 * 3 * 8 * mean < tokens).all() and (tokens < 1.4 * 3 * 8 * mean).all()

    text = benchmark.table(together.rows(result))
    for words in ("members", "one after another / in one program", "4 pairs]", "MiB", "quiet"):
        assert words in text
