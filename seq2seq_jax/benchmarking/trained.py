"""A trained run as the model that is timed: its translations end where it ends them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import nnx

from seq2seq_jax import config as configs
from seq2seq_jax.benchmarking import comparison
from seq2seq_jax.benchmarking.benchmark import (
    Row,
    processors_alone,
    searched,
    state_of,
    surroundings,
)
from seq2seq_jax.benchmarking.comparison import compare, show_spread
from seq2seq_jax.benchmarking.machine import Quiet, look_around
from seq2seq_jax.benchmarking.peers import Arm, Peers
from seq2seq_jax.benchmarking.torch_input import write_input
from seq2seq_jax.benchmarking.translation import time_searches
from seq2seq_jax.benchmarking.workloads import Examples
from seq2seq_jax.evaluation.assembly import load_again
from seq2seq_jax.evaluation.environment import environment
from seq2seq_jax.evaluation.run import Run

NO_BATCHES = np.zeros((0, 0), np.int64)  # nothing is trained


def benchmark_run(
    run: Run, before: Quiet, *, windows: int, sentences: int, arms: Sequence[Arm] = ()
) -> dict[str, Any]:
    """Translates the first sentences of the run's own test split with its best parameters.

    `before`: how quiet the machine was at the start. `arms`: programs that do the same in turns.
    """
    processors_alone(arms)
    test = load_again(run.config, run.workdir).encoded["test"]
    examples = Examples(test.source, test.target, (run.source, run.target))
    params = nnx.to_pure_dict(nnx.state(run.model, nnx.Param))

    def write(folder):
        write_input(folder, run.config, examples, params, NO_BATCHES, ends=True)

    with Peers(arms, write) as peers:
        peers.start()
        sources = test.source[:sentences]
        searches = time_searches(run.search, run.config.evaluation, sources, windows, peers)
    return {
        "run": str(run.workdir),
        "step": run.step,
        "windows": windows,
        "parameters": run.parameters,
        "vocabularies": [len(run.source), len(run.target)],
        "quiet": {"before": state_of(before), "after": state_of(look_around(before=False))},
        "searches": {name: searched(found) for name, found in searches.items()},
        "against": [compare(searches, peer) for peer in peers.started],
        "environment": environment(),
        "config": configs.to_dict(run.config),
    }


def rows(result: Mapping[str, Any]) -> list[Row]:
    """The result as (what, how much)."""
    found: list[Row] = [
        ("run", f"{result['run']}, the parameters of step {result['step']}"),
        *surroundings(result),
    ]
    for name, search in result["searches"].items():
        found += [
            (f"{name} sentences a second", show_spread(search["sentences_per_second"])),
            ("tokens of a translation", f"{search['mean_tokens']:.1f}"),
        ]
    return [*found, *comparison.rows(result)]
