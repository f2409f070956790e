"""The parts of an update: together they do the whole update's products, no more and no fewer."""

import jax

from benchmarks import parts
from seq2seq_jax.benchmarking.members import make_lanes
from seq2seq_jax.benchmarking.products import operations
from seq2seq_jax.benchmarking.workloads import full_batch, make_config
from tests.benchmarking.tiny import TINY


def test_the_parts_have_the_products_of_the_whole(monkeypatch):
    monkeypatch.setattr(parts, "seconds_alone", operations)
    monkeypatch.setattr(parts, "COPIED", 1024)
    config, sizes = make_config("g2p", TINY), (20, 30)
    graphdef, (lane,) = make_lanes([config], sizes)
    *some, whole = parts.parts(config, full_batch(sizes, 8, (4, 5)), graphdef, lane)
    assert [part.name for part in (*some, whole)] == [
        "encoder", "decoder", "output layer and loss", "optimiser", "whole update",
    ]  # fmt: skip
    assert sum(part.alone for part in some if part.kind == "products") == whole.alone > 0
    for part in (*some, whole):
        jax.block_until_ready(part.run())
