"""What computing the S x A arrays of a joint score anew costs and saves, in two arms.

    PYTHONPATH=. .venv/bin/python benchmarks/rematerialisation.py small 12 32
    PYTHONPATH=. .venv/bin/python benchmarks/rematerialisation.py luong 12 12

Trains a workload with the score concat on one batch of the given shape (source, target), with
`jax.checkpoint` as the models use it and with the same arrays kept. The two take turns, and
processor time is compared, which other processes disturb less than they do wall time.
"""

import statistics
import sys
import time

import jax
import numpy as np

from seq2seq_jax.benchmarking.measured_step import (
    first_hyper,
    is_forced,
    make_key,
    make_state,
    make_step,
)
from seq2seq_jax.benchmarking.workloads import make_config, make_examples
from seq2seq_jax.models.seq2seq import initialize
from seq2seq_jax.types import SPECIALS, Batch

ROUNDS, UPDATES = 7, 5


class Arm:
    """A compiled step and its state; `seconds` of processor time an update, one entry a round."""

    def __init__(self, config, model, batch):
        graphdef, params = model
        self.step, self.batch = make_step(config, graphdef), batch
        state = jax.device_put(make_state(config, params), may_alias=False)
        self.rest = first_hyper(config), make_key(config)
        self.forced = is_forced(config)
        self.seconds = []
        self.state = self.step(state, batch, *self.rest, forced=self.forced)
        jax.block_until_ready(self.state)

    def temporary_bytes(self):
        return self.step.temporary_bytes(self.state, self.batch, *self.rest, forced=self.forced)

    def round(self):
        start = time.process_time()
        for _ in range(UPDATES):
            self.state = self.step(self.state, self.batch, *self.rest, forced=self.forced)
        jax.block_until_ready(self.state)
        self.seconds.append((time.process_time() - start) / UPDATES)


def main(name, positions, targets):
    config = make_config(name, {"model.attention.score": "concat"})
    sizes = [len(v) for v in make_examples(name, config).vocabularies]
    model = initialize(config.model, *sizes, jax.random.key(0))
    generator = np.random.default_rng(0)
    rows = config.data.batch_size
    source, target = (
        generator.integers(len(SPECIALS), size, (rows, length)).astype(np.int32)
        for size, length in zip(sizes, (positions, targets), strict=True)
    )
    batch = Batch(source, target, np.arange(rows, dtype=np.int32))

    checkpoint, arms = jax.checkpoint, {}
    for arm, function in (("anew", checkpoint), ("kept", lambda function, **_: function)):
        jax.checkpoint = function
        arms[arm] = Arm(config, model, batch)
    jax.checkpoint = checkpoint
    for turn in range(ROUNDS):
        for arm in list(arms.values())[:: 1 if turn % 2 else -1]:
            arm.round()
    for label, arm in arms.items():
        print(
            f"{label}: {statistics.median(arm.seconds):.4f} s of processor time an update, "
            f"{arm.temporary_bytes() / 2**20:,.1f} MiB temporary"
        )
    pairs = zip(arms["anew"].seconds, arms["kept"].seconds, strict=True)
    ratios = [anew / kept for anew, kept in pairs]
    print(
        f"anew / kept: {statistics.median(ratios):.2f} "
        f"[{min(ratios):.2f} to {max(ratios):.2f}, {ROUNDS} pairs]"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
