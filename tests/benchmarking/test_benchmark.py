"""A whole benchmark of a tiny model: what comes out, not how fast."""

import json
import math
import time

import jax
import numpy as np
import pytest

from seq2seq_jax.benchmarking import benchmark, machine, training, workloads
from seq2seq_jax.benchmarking.members import Members, make_lanes
from seq2seq_jax.benchmarking.products import operations
from seq2seq_jax.benchmarking.translation import never_ending
from seq2seq_jax.data.batching import Batches
from seq2seq_jax.training import losses
from seq2seq_jax.types import EOS, PAD
from tests.benchmarking.tiny import TINY
from tests.small import small_model


def test_the_result_of_a_tiny_model(monkeypatch):
    monkeypatch.setattr(workloads, "EXAMPLES", 30)
    monkeypatch.setattr(machine, "SPIN", 0.001)
    config, quiet = workloads.make_config("g2p", TINY), machine.Quiet(0.0, 1.0)
    result = benchmark.benchmark("g2p", config, quiet, windows=2, updates=1, sentences=6)

    training_, greedy = result["training"], result["searches"]["greedy"]
    assert result["variant"].items() >= {("data.batch_size", 8), ("model.encoder.cell", "elman")}
    assert training_["compilations"] == 1
    assert len(training_["tokens_per_second"]["windows"]) == 2
    assert training_["tokens_per_second"]["min"] > 0
    (shape,) = training_["temporary_bytes"]
    assert shape["temporary_bytes"] > 8 * shape["target"] * 43  # the logits
    positions = 32 * (shape["source"] + shape["target"])  # 30 examples fill 4 batches of 8
    tokens = 30 * sum(result["mean_lengths"])
    assert training_["padding"] == pytest.approx(1 - tokens / positions, abs=0.005)
    assert training_["useful_share"] <= training_["product_share"]
    assert 0 < training_["step_share"] < 1
    assert greedy["sentences"] == 6
    assert greedy["mean_tokens"] == 5  # the limit of each: no translation ends by itself
    assert training_["first_loss"] == pytest.approx(math.log(43), abs=0.3)  # nothing known yet
    assert result["against"] == []

    text = benchmark.table(benchmark.rows(json.loads(json.dumps(result))))
    assert text.splitlines()[0].startswith("workload")
    for words in ("target tokens a second", "[", "1 in ", "temporary memory, ", "quiet (load"):
        assert words in text


def test_one_batch_of_each_shape_and_the_runs_first_one_first():
    rows = [[5] * (n - 1) + [EOS] for n in (2, 2, 2, 4, 4, 8)]
    batches = Batches(rows, rows, [(2, 2), (4, 4), (8, 8)], 2, seed=3)
    found = list(training.one_of_each_shape(batches))
    assert sorted(training.shape_of(batch) for batch in found) == [(2, 2), (4, 4), (8, 8)]
    np.testing.assert_array_equal(found[0].index_B, batches[0].index_B)


class Untrained(Members):
    """Keeps what it would learn from."""

    def __init__(self):
        self.seen, self.state, self.vocabulary = [], None, 8
        self.shards = self.parts = 1

    def place(self, batch):
        return "placed", batch

    def update(self, batch):
        self.seen.append(batch)


def test_a_window_counts_tokens_without_padding():
    rows, other = [[5, 6, EOS], [EOS]], [[7, EOS], [8, EOS]]
    (batch,) = [Batches(rows, other, [(4, 4)], 2)[0]]
    window = training.time_window(run := Untrained(), [batch] * 2)
    assert run.seen == [("placed", batch)] * 2
    assert window[2:] == (8, 16, 32, 16, {((4, 4), 1): 2})
    assert 0 < window.waited < window.seconds
    assert (batch.source_BS != PAD).sum() == 4


def test_micro_batches_change_no_number_of_operations(monkeypatch):
    """Each has a loss of its own, of fewer blocks."""
    monkeypatch.setattr(losses, "FEW", 0)
    monkeypatch.setitem(losses.BLOCK, "cpu", 4)
    found = set()
    for parts in (1, 2, 4):
        config = workloads.make_config("g2p", {**TINY, "train.accumulation": parts})
        graphdef, lanes = make_lanes([config], (9, 11))
        members = Members(lanes, graphdef)
        batch = workloads.full_batch((9, 11), 8, (5, 6))
        assert members.loss_blocks(batch.target_BT) == (12, 48)
        found.add(operations(members.products(batch)))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("load", "stretch", "quiet"),
    [(0.0, 1.0, True), (2.0, 1.0, False), (0.0, 1.9, False), (None, 1.01, True)],
)
def test_quiet(load, stretch, quiet):
    found = machine.Quiet(load, stretch)
    assert found.quiet == quiet
    assert ("NOT QUIET" in str(found)) == (not quiet)
    assert ("load average" in str(found)) == (load is not None)


def test_the_process_has_an_age_and_a_size():
    age = machine.process_age()
    time.sleep(0.02)
    assert 0 < age < machine.process_age() < 24 * 3600
    held = machine.peak_memory()
    assert held > 50 * 2**20  # JAX alone takes more
    np.ones(1 << 20).sum()
    assert machine.peak_memory() >= held


def test_spinning_leaves_the_cores_as_they_were(monkeypatch):
    monkeypatch.setattr(machine, "SPIN", 0.001)
    before = machine.os.sched_getaffinity(0)
    assert machine.spin() >= 0.99
    assert machine.os.sched_getaffinity(0) == before


def test_a_model_that_never_ends():
    _, params = small_model()
    changed = never_ending(params)
    bias_V = changed["decoder"]["output_bias"]
    assert bias_V[EOS] < -1e8
    np.testing.assert_array_equal(
        np.delete(bias_V, EOS), np.delete(params["decoder"]["output_bias"], EOS)
    )
    assert jax.tree.structure(changed) == jax.tree.structure(params)
