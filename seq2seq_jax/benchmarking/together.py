"""A workload trained by several members in one program, against one after another."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.benchmarking.benchmark import Row, head, mib, state_of
from seq2seq_jax.benchmarking.comparison import show_spread, spread
from seq2seq_jax.benchmarking.machine import Quiet, look_around
from seq2seq_jax.benchmarking.members import make_lanes
from seq2seq_jax.benchmarking.population import Arm, time_population
from seq2seq_jax.benchmarking.workloads import make_batches, make_examples, variant
from seq2seq_jax.config_signature import refuse_obstacles
from seq2seq_jax.evaluation.assembly import order_seed
from seq2seq_jax.evaluation.environment import environment
from seq2seq_jax.models.seq2seq import count_parameters


def benchmark_population(
    name: str, config: ConfigDict, before: Quiet, members: int, *, windows: int, updates: int
) -> dict[str, Any]:
    """Trains so many members of a workload, each with a seed of its own; see `benchmark`."""
    own = [_with_seed(config, config.seed + r) for r in range(members)]
    refuse_obstacles(own)
    examples = make_examples(name, config)
    batches = make_batches(examples, config)
    graphdef, lanes = make_lanes(own, [len(words) for words in examples.vocabularies])
    parameters = count_parameters(lanes[0].state.params)
    each = [batches.with_seed(order_seed(config)) for config in own]
    found = time_population(lanes, graphdef, each, windows, updates)
    one_by_one = [members * seconds for seconds in found.alone.seconds]

    def arm(measured: Arm, seconds: list[float]) -> dict[str, Any]:
        rates = [n / s for n, s in zip(found.targets, seconds, strict=True)]
        return {
            "seconds": spread(measured.seconds),
            "tokens_per_second": spread(rates),
            "temporary_bytes": measured.temporary_bytes,
            "state_bytes": measured.state_bytes,
        }

    pairs = zip(one_by_one, found.together.seconds, strict=True)
    return {
        "workload": name,
        "variant": variant(name, config),
        "members": members,
        "windows": windows,
        "updates": updates,
        "parameters": parameters,
        "shape": {"source": found.shape[0], "target": found.shape[1]},
        "quiet": {"before": state_of(before), "after": state_of(look_around(before=False))},
        "alone": arm(found.alone, one_by_one),
        "together": arm(found.together, found.together.seconds),
        "ratio": spread([alone / together for alone, together in pairs]),
        "environment": environment(),
        "config": configs.to_dict(config),
    }


def _with_seed(config: ConfigDict, seed: int) -> ConfigDict:
    other = config.copy_and_resolve_references()
    other.seed = seed
    return other


def rows(result: Mapping[str, Any]) -> list[Row]:
    """The result as (what, how much)."""
    found = [
        *head(result),
        ("members", f"{result['members']}"),
        ("batch shape", f"{result['shape']['source']} x {result['shape']['target']}"),
    ]
    for name, what in (("alone", "one of them alone"), ("together", "all in one program")):
        arm = result[name]
        milliseconds = [1e3 * seconds for seconds in arm["seconds"]["windows"]]
        found += [
            ("", ""),
            (f"ms an update, {what}", show_spread(spread(milliseconds), digits=2)),
            ("target tokens a second, of all", show_spread(arm["tokens_per_second"])),
            ("temporary memory", mib(arm["temporary_bytes"])),
            ("state", mib(arm["state_bytes"])),
        ]
    ratio = show_spread(result["ratio"], "pairs", 2)
    return [*found, ("", ""), ("one after another / in one program", ratio)]
