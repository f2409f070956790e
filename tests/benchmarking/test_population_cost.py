"""What runs take together and alone: how much is counted, never how long it took."""

import json

import jax
import numpy as np
import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.benchmarking import population
from seq2seq_jax.benchmarking.members import Members
from seq2seq_jax.benchmarking.population import measure_population
from seq2seq_jax.sweeps.population import describe, plan, speedup
from seq2seq_jax.sweeps.runner import Run

SMALL = {
    "data.name": "reverse",
    "data.task.symbols": 6,
    "data.task.max_length": 8,
    "data.train_size": 60,
    "data.valid_size": 4,
    "data.test_size": 4,
    "data.batch_size": 8,
    "data.buckets": 2,
    "model.embedding": 4,
    "model.encoder.width": 4,
    "model.encoder.cell": "elman",
    "model.decoder.width": 8,
    "model.decoder.cell": "elman",
    "train.epochs": 3.0,
    # Of which the first update alone is forced.
    "teacher_forcing.schedule": "linear",
    "teacher_forcing.decay": 0.01,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    found = []
    for seed in range(4):
        folder = tmp_path_factory.mktemp(f"seed{seed}")
        config = configs.load("configs/default.py", {**SMALL, "seed": seed})
        configs.save(config, folder / "config.json")
        found.append(Run("cell", seed, folder, config))
    return found


def test_what_is_measured(runs, monkeypatch):
    fed = []

    class Observed(Members):
        def seconds(self, batches):
            taken = super().seconds(batches)
            fed.append(jax.tree.map(np.sum, jax.device_get(self.state.window)))
            return taken

    monkeypatch.setattr(population, "Members", Observed)
    cost = measure_population([run.folder for run in runs])
    # The updates are those of the end, when the ratio has fallen to 1 - 0.01 * 27 or so.
    assert 0.6 < fed[-1]["gold"] / fed[-1]["coins"] < 0.9
    assert json.loads(json.dumps(cost)) == cost
    assert cost["members"] == 4
    assert cost["compilations"] == 4  # two shapes, forced and not
    assert cost["updates"] % 3 == 0 and 8 <= cost["updates"] / 3 <= 10  # 60 pairs in eights
    alone, together = cost["alone"], cost["together"]
    assert alone["bytes"] < together["bytes"] < 8 * alone["bytes"]
    # All updates of all runs, by the positions of a batch as a share of those that were timed.
    share = together["total_seconds"] / (cost["updates"] * together["seconds"])
    assert share == pytest.approx(alone["total_seconds"] / (4 * cost["updates"] * alone["seconds"]))
    assert speedup(cost) == 4 * alone["seconds"] / together["seconds"]
    groups = plan(runs, "auto", 0, lambda group: cost)
    assert "4 compilations of the step" in describe(groups) or not groups[0].together
