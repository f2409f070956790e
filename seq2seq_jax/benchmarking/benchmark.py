"""One workload, measured: numbers as plain values for JSON, and as a table to read."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax.benchmarking import comparison
from seq2seq_jax.benchmarking.comparison import compare, show_spread, spread
from seq2seq_jax.benchmarking.machine import Quiet, look_around
from seq2seq_jax.benchmarking.peers import Arm, Peers
from seq2seq_jax.benchmarking.torch_input import training_batches, write_input
from seq2seq_jax.benchmarking.training import Training, time_training
from seq2seq_jax.benchmarking.translation import Searched, never_ending, time_searches
from seq2seq_jax.benchmarking.workloads import make_batches, make_examples, variant
from seq2seq_jax.decoding.translate import Translator
from seq2seq_jax.evaluation.environment import environment
from seq2seq_jax.models import cudnn
from seq2seq_jax.models.seq2seq import count_parameters, initialize
from seq2seq_jax.rng import named
from seq2seq_jax.types import InputError

Row = tuple[str, str]


def benchmark(
    name: str,
    config: ConfigDict,
    before: Quiet,
    *,
    windows: int,
    updates: int,
    sentences: int,
    cold: bool = False,
    arms: Sequence[Arm] = (),
    same_batches: bool = False,
) -> dict[str, Any]:
    """Trains and translates a workload, or a variant of it as its config says.

    `before`: how quiet the machine was at the start. `cold`: the compilation cache was empty then.
    `arms`: programs that do the same in turns with this one, on batches of like lengths or on the
    `same_batches`.
    """
    processors_alone(arms)
    cudnn.require(config.model)
    examples = make_examples(name, config)
    batches = make_batches(examples, config)
    sizes = [len(vocabulary) for vocabulary in examples.vocabularies]
    graphdef, params = initialize(config.model, *sizes, named(jax.random.key(config.seed), "model"))
    # On the host: what a state on several devices is made of would be donated with it.
    params = jax.device_get(params)
    model, count = (graphdef, params), windows * updates
    translator = Translator([graphdef], *examples.vocabularies, config.evaluation)

    def write(folder):
        batches_UB = training_batches(batches, count, same_batches)
        write_input(folder, config, examples, params, batches_UB)

    with Peers(arms, write) as peers:
        training = time_training(config, model, batches, windows, updates, peers)
        search = functools.partial(translator.search, [jax.device_put(never_ending(params))])
        sources = examples.source[:sentences]
        searches = time_searches(search, config.evaluation, sources, windows, peers)
    return {
        "workload": name,
        "variant": variant(name, config),
        "windows": windows,
        "updates": updates,
        "cold": cold,
        "parameters": count_parameters(params),
        "mean_lengths": [round(float(mean), 2) for mean in batches.lengths_N2.mean(axis=0)],
        "vocabularies": sizes,
        "quiet": {"before": state_of(before), "after": state_of(look_around(before=False))},
        "training": _training(training),
        "searches": {name: searched(found) for name, found in searches.items()},
        "against": [compare(searches, peer, training) for peer in peers.started],
        "environment": environment(),
        "config": configs.to_dict(config),
    }


def processors_alone(arms: Sequence[Arm]) -> None:
    """Raises InputError where other programs would be compared with an accelerator."""
    if arms and jax.default_backend() != "cpu":
        raise InputError("--vs=torch compares what processors do: add --platform=cpu")


def state_of(found: Quiet) -> dict[str, Any]:
    """As JSON."""
    return {**found._asdict(), "quiet": found.quiet, "text": str(found)}


def _training(found: Training) -> dict[str, Any]:
    shapes = [
        {"source": s, "target": t, "temporary_bytes": size}
        for (s, t), size in found.temporary_bytes.items()
    ]
    rates = found.tokens_per_second
    return {
        **found._asdict(),
        "tokens_per_second": spread(rates),
        "temporary_bytes": shapes,
    }


def searched(found: Searched) -> dict[str, Any]:
    """As JSON."""
    return {**found._asdict(), "sentences_per_second": spread(found.sentences_per_second)}


def head(result: Mapping[str, Any]) -> list[Row]:
    """What ran, and where."""
    changed = ", ".join(f"{key}={value}" for key, value in result["variant"].items())
    return [
        ("workload", result["workload"] + (f" with {changed}" if changed else "")),
        *surroundings(result),
    ]


def surroundings(result: Mapping[str, Any]) -> list[Row]:
    """How large the model is, and where it ran."""
    machine = result["environment"]
    return [
        ("parameters", f"{result['parameters']:,}"),
        ("device", f"{machine['device']}, {machine['cores']} cores"),
        ("machine before", result["quiet"]["before"]["text"]),
        ("machine after", result["quiet"]["after"]["text"]),
    ]


def rows(result: Mapping[str, Any]) -> list[Row]:
    """The result as (what, how much)."""
    training = result["training"]
    return [
        *head(result),
        ("target tokens a second", show_spread(training["tokens_per_second"])),
        *(
            (f"{name} sentences a second", show_spread(found["sentences_per_second"]))
            for name, found in result["searches"].items()
        ),
        ("tokens of a translation", f"{result['searches']['greedy']['mean_tokens']:.1f}"),
        ("first update finished after", f"{training['first_update_seconds']:.1f} s"),
        (
            "compilations",
            f"{training['compilations']} in {training['compile_seconds']:.1f} s"
            + (", the cache was empty" if result["cold"] else ""),
        ),
        ("matrix products", _products(training)),
        ("in the step", f"{training['step_share']:.1%} of the time, the rest waits for input"),
        ("padding", f"{training['padding']:.1%}"),
        ("peak memory of the process", mib(training["peak_bytes"])),
        *(
            (f"temporary memory, {shape['source']} x {shape['target']}", mib(size))
            for shape in training["temporary_bytes"]
            for size in [shape["temporary_bytes"]]
        ),
        *comparison.rows(result),
    ]


def table(rows: Sequence[Row]) -> str:
    """As text, in two columns."""
    width = max(len(what) for what, _ in rows)
    return "\n".join(f"{what:{width}}  {value}".rstrip() for what, value in rows)


def _products(training: Mapping[str, Any]) -> str:
    rate, alone = training["operations_per_second"], training["alone_per_second"]
    return (
        f"{rate / 1e9:,.1f} GFLOP/s; alone, at the same shapes, {alone / 1e9:,.1f}: they are "
        f"{training['product_share']:.0%} of the time, {training['useful_share']:.0%} on tokens"
    )


def mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
