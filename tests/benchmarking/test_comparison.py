"""Ratios of pairs of windows, and how they are shown."""

import json

import pytest

from seq2seq_jax.benchmarking import comparison, peers
from seq2seq_jax.benchmarking.training import Training
from seq2seq_jax.benchmarking.translation import Searched
from tests.benchmarking.fake_peer import arm


def test_spread():
    found = comparison.spread([3.0, 1.0, 8.0])
    assert found == {"median": 3.0, "min": 1.0, "max": 8.0, "windows": [3.0, 1.0, 8.0]}


def test_ratios_are_those_of_pairs(monkeypatch):
    monkeypatch.setattr(peers, "SETTLE", 0.0)
    training = Training([50.0, 30.0, 80.0], *[None] * 13)._replace(first_loss=2.5)
    searches = {"greedy": Searched([4.0, 4.0, 8.0], 10, 3.0)}
    with peers.Peers([arm("mine")], lambda folder: None) as one:
        one.start()
        one.warm_up("train", 1)
        for seconds in (2, 10, 1):  # 50, 10 and 100 tokens, 5, 1 and 10 sentences a second
            one.window("train", seconds)
            one.window("greedy", seconds)
        found = comparison.compare(searches, one.started[0], training)
        alone = comparison.compare(searches, one.started[0])
    assert found["tokens_per_second"]["windows"] == [50, 10, 100]
    assert found["training_ratio"]["windows"] == pytest.approx([1, 3, 0.8])
    assert found["training_ratio"]["median"] == pytest.approx(1)
    assert found["searches"]["greedy"]["ratio"]["windows"] == pytest.approx([0.8, 4, 0.8])
    assert found["searches"]["greedy"]["mean_tokens"] == 3
    assert alone["searches"] == found["searches"]
    assert found.keys() - alone.keys() == {
        *("first_loss", "our_first_loss", "tokens_per_second", "training_ratio")
    }
    result = {"against": [json.loads(json.dumps(found))]}
    text = "\n".join(f"{what}: {value}" for what, value in comparison.rows(result))
    assert "against: Fake 1, mine, threads: 1" in text
    assert "ours / theirs, training: 1.00  [0.80 to 3.00, 3 pairs]" in text
    assert "2.50000; ours 2.50000" in text
    text = str(comparison.rows({"against": [alone]}))
    assert "ours / theirs, greedy" in text
    assert "training" not in text


@pytest.mark.parametrize(("share", "end"), [(0.9, "NOT IDLE"), (0.01, "of a core")])
def test_a_side_that_does_not_wait_is_reported(share, end):
    peer = {
        "searches": {},
        "program": "Fake 1", "name": "mine", "threads": 2, "parameters": 7,
        "products_per_second": 1e9,
        "idle_share": {"ours": 0.0, "theirs": share},
    }  # fmt: skip
    rows = dict(comparison.rows({"against": [peer]}))
    assert rows["busy while it should wait"].startswith(f"theirs {share:.1%}, ours 0.0%")
    assert rows["busy while it should wait"].endswith(end)
