"""What is written for the PyTorch program."""

import itertools
import json

import numpy as np
import pytest

from seq2seq_jax.benchmarking import torch_input, workloads
from seq2seq_jax.benchmarking.training import one_of_each_shape
from seq2seq_jax.data.batching import Batches, choose_buckets, lengths


@pytest.fixture
def workload(monkeypatch):
    monkeypatch.setattr(workloads, "EXAMPLES", 50)
    config = workloads.make_config("g2p", {"data.batch_size": 4, "data.buckets": 3})
    examples = workloads.make_examples("g2p", config)
    pairs_N2 = lengths(examples.source, examples.target)
    batches = Batches(*examples[:2], choose_buckets(pairs_N2, 3, 4), 4, seed=0)
    return config, examples, batches


def test_batches_of_like_lengths_hold_each_example_once_an_epoch(workload):
    *_, batches = workload
    found_UB = torch_input.like_lengths(batches, 26)
    epoch_UB, again_UB = found_UB[:13], found_UB[13:]
    np.testing.assert_array_equal(epoch_UB, again_UB)
    assert sorted(epoch_UB[epoch_UB >= 0]) == list(range(50))
    lengths_N = batches.lengths_N2[:, 1]
    spans = sorted((min(n), max(n)) for row in epoch_UB if len(n := lengths_N[row[row >= 0]]))
    assert all(most <= least for (_, most), (least, _) in itertools.pairwise(spans))
    assert [len(set(row)) for row in epoch_UB].count(4) >= 12


def test_the_same_batches_are_those_after_the_first(workload):
    *_, batches = workload
    found_UB = torch_input.same_batches(batches, 3)
    np.testing.assert_array_equal(found_UB, [batches[i].index_B for i in (1, 2, 3)])


@pytest.mark.parametrize("same", [True, False])
def test_what_is_written_can_be_read(workload, same, tmp_path):
    config, examples, batches = workload
    params = {"decoder": {"cells": {0: {"bias": np.arange(3.0)}}}}
    batches_UB = torch_input.training_batches(batches, 5, same)
    torch_input.write_input(tmp_path, config, examples, params, batches_UB)

    settings = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert settings["vocabularies"] == [31, 43]
    assert settings["threads"] >= 1
    assert settings["ends"] is False
    assert settings["model"]["decoder"]["width"] == 128
    with np.load(tmp_path / "weights.npz") as weights:
        np.testing.assert_array_equal(weights["decoder/cells/0/bias"], [0, 1, 2])
    with np.load(tmp_path / "examples.npz") as file:
        for side, rows in (("source", examples.source), ("target", examples.target)):
            read = np.split(file[side], file[f"{side}_start"][1:-1])
            assert all(map(np.array_equal, read, rows))
            assert len(read) == 50
        first = [batch.index_B for batch in one_of_each_shape(batches)]
        warm_up_UB, rest_UB = np.split(file["batches_UB"], [len(first)])
    np.testing.assert_array_equal(warm_up_UB, first)
    choose = torch_input.same_batches if same else torch_input.like_lengths
    np.testing.assert_array_equal(rest_UB, choose(batches, 5))
