"""What each optimisation gains: with it and without it, in turns.

    PYTHONPATH=. .venv/bin/python benchmarks/arms.py
    PYTHONPATH=. .venv/bin/python benchmarks/arms.py --only=loss --workload=small --shape=9x14
    PYTHONPATH=. .venv/bin/python benchmarks/arms.py --run=RUN

Prints a row of a table for each pair of arms: the median time of each, on / off with the least and
the most of the pairs, and more about each arm. The arm without is the package with one function
replaced by its plain version (plain.py). --workload and --shape (source x target) take the place of
the table's own; translations and whole epochs have the shapes of their data. With --run the rows
are those that take a trained run, whose translations end at different steps. Memory that is kept or
given back to the kernel changes every number: launch.sh says which settings of glibc it uses
(GLIBC_TUNABLES), and this program which ones it found.
"""

import argparse
import contextlib
import functools
import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.plain import PLAIN, off
from seq2seq_jax.benchmarking import workloads
from seq2seq_jax.benchmarking.machine import look_around
from seq2seq_jax.benchmarking.members import Members, make_lanes
from seq2seq_jax.benchmarking.population import typical
from seq2seq_jax.benchmarking.training import shape_of
from seq2seq_jax.benchmarking.translation import never_ending
from seq2seq_jax.benchmarking.workloads import (
    WORKLOADS,
    full_batch,
    make_batches,
    make_examples,
    parse_shape,
)
from seq2seq_jax.commands.common import use_cores
from seq2seq_jax.data.batching import padding_share, stack
from seq2seq_jax.data.buckets import Shape
from seq2seq_jax.decoding.strategies import BeamSearch
from seq2seq_jax.decoding.translate import Translator
from seq2seq_jax.evaluation.assembly import load_again
from seq2seq_jax.evaluation.environment import environment
from seq2seq_jax.evaluation.run import load_run

ROUNDS, SECONDS = 7, 0.3  # a turn of an arm is as many updates as fit, one at least
STARTS = 3  # rounds, where each turn compiles
SENTENCES = {"greedy": 500, "many": 10_000, "beam": 100}
SEARCHES = {"many": 5}  # of a turn; else one
FIRST = 40  # updates of a start: most shapes have come by then
MEMBERS = 16  # of a population


class Arm(NamedTuple):
    """One side of a pair. `seconds` takes its turn; `result`: the numbers that came out so far."""

    seconds: Callable[[], float]
    result: Callable[[], Any]
    note: str = ""


class Case(NamedTuple):
    """An optimisation, where it is tried: `kind` of arm, workload, keys changed, batch shape."""

    name: str
    kind: str
    workload: str
    shape: Shape = (16, 16)
    changes: Mapping[str, Any] = {}


def update(case: Case) -> Arm:
    """An update of the training step on one full batch."""
    return _updating(case, 1)


def population(case: Case) -> Arm:
    """An update of several members in one program, on equal batches."""
    return _updating(case, MEMBERS)


def half_ended(case: Case) -> Arm:
    """The same, where every second member has ended."""
    return _updating(case, MEMBERS, ended=slice(1, None, 2))


def _updating(case: Case, count: int, ended: slice | None = None) -> Arm:
    configs = [
        workloads.make_config(case.workload, {**case.changes, "seed": seed})
        for seed in range(count)
    ]
    sizes = [len(words) for words in make_examples(case.workload, configs[0]).vocabularies]
    graphdef, lanes = make_lanes(configs, sizes)
    batch = full_batch(sizes, configs[0].data.batch_size, case.shape)
    members, batch = Members(lanes, graphdef), batch if count == 1 else stack([batch] * count)
    if ended:
        bad_steps = jax.device_get(members.state.bad_step).copy()
        bad_steps[ended] = 0
        bad_steps = jax.device_put(bad_steps, members.state.bad_step.sharding)
        members.state = members.state._replace(bad_step=bad_steps)
    members.seconds([batch])  # compiles
    state = jax.device_get(members.state)
    updates = max(1, int(SECONDS / members.seconds([batch])))
    return Arm(
        lambda: members.seconds([batch] * updates) / updates,
        lambda: state,
        f"{members.temporary_bytes(batch) / 2**20:,.1f} MiB",
    )


def search(case: Case) -> Arm:
    """Translation of some sentences, to the limit of each."""
    config = workloads.make_config(case.workload, case.changes)
    examples = make_examples(case.workload, config)
    graphdef, (lane,) = make_lanes([config], [len(words) for words in examples.vocabularies])
    translator = Translator([graphdef], *examples.vocabularies, config.evaluation)
    params = [jax.device_put(never_ending(lane.state.params))]
    translate = functools.partial(translator.search, params)
    sources, times = examples.source[: SENTENCES[case.kind]], SEARCHES.get(case.kind, 1)
    return _translating(translate, sources, config.evaluation, times)


def trained(case: Case) -> Arm:
    """Translation of a run's test sentences; the run stands in the place of the workload."""
    changes = {key.removeprefix("evaluation."): value for key, value in case.changes.items()}
    run = load_run(case.workload, evaluation=changes)
    test = load_again(run.config, run.workdir).encoded["test"]
    return _translating(run.search, test.source, run.config.evaluation)


def _translating(translate, sources, evaluation, times=1) -> Arm:
    strategy = BeamSearch.of(evaluation) if evaluation.beam > 1 else None
    found = translate(sources, strategy)  # compiles

    def seconds() -> float:
        gc.collect()  # what the other arm has left behind
        began = time.perf_counter()
        for _ in range(times):
            translate(sources, strategy)
        return (time.perf_counter() - began) / times

    return Arm(seconds, lambda: found)


def start(case: Case) -> Arm:
    """The first updates of a training, whose program is new each time."""
    config = workloads.make_config(case.workload, case.changes)
    examples = make_examples(case.workload, config)
    batches = make_batches(examples, config)
    seen = [batches[i] for i in range(FIRST)]
    sizes, states = [len(words) for words in examples.vocabularies], []
    graphdef, lanes = make_lanes([config], sizes)

    def seconds() -> float:
        members, began = Members(lanes, graphdef), time.perf_counter()
        members.seconds(seen[:1])
        members.ahead(batches.blanks())
        members.seconds(seen[1:])
        states[:] = [members.state]
        return time.perf_counter() - began

    return Arm(seconds, lambda: states[0], f"{len({shape_of(batch) for batch in seen})} shapes")


def epoch(case: Case) -> Arm:
    """An epoch, by the time of an update on the shape that most positions are spent on."""
    config = workloads.make_config(case.workload, case.changes)
    examples = make_examples(case.workload, config)
    batches = make_batches(examples, config)
    chosen, share = typical(batches)
    graphdef, lanes = make_lanes([config], [len(words) for words in examples.vocabularies])
    members, batch = Members(lanes, graphdef), batches[chosen[0]]
    members.seconds([batch])  # compiles
    count = max(1, int(SECONDS / members.seconds([batch])))
    padding = padding_share(batches.lengths_N2, batches.shapes, batches.batch_size)
    return Arm(
        lambda: members.seconds([batch] * count) / count * share * batches.per_epoch,
        lambda: batches,
        f"{padding:.1%} padding",
    )


KINDS = {
    "update": update,
    "population": population,
    "half ended": half_ended,
    "greedy": search,
    "many": search,
    "beam": search,
    "trained greedy": trained,
    "trained beam": trained,
    "start": start,
    "epoch": epoch,
}
CONCAT = {"model.attention.score": "concat"}
BFLOAT16 = {"model.dtype": "bfloat16"}
BEAM = {"evaluation.beam": 5}
HALF, MOSTLY = {"teacher_forcing.ratio": 0.5}, {"teacher_forcing.ratio": 0.9}
DRAWN = {"teacher_forcing.feed": "sample"}
CASES = (
    Case("deferred", "update", "luong"),
    Case("deferred", "update", "small", (9, 14)),
    Case("loss", "update", "luong"),
    Case("loss", "update", "small", (9, 14)),
    Case("few", "update", "small", (9, 14)),
    Case("few", "update", "small", (10, 29)),
    Case("few", "update", "g2p", (8, 7)),
    Case("exponential", "update", "luong"),
    Case("sigmoid", "update", "small", (9, 14)),
    Case("tanh", "update", "small", (9, 14)),
    Case("inputs_ahead", "update", "small", (9, 14)),
    Case("inputs_ahead", "update", "g2p", (8, 7)),
    Case("attention_apart", "update", "small", (9, 14)),
    Case("attention_apart", "update", "small", (9, 14), CONCAT),
    Case("attention_apart", "update", "g2p", (8, 7)),
    Case("rematerialisation", "update", "luong", (12, 12), CONCAT),
    Case("rematerialisation", "update", "small", (12, 32), CONCAT),
    Case("some_rows", "update", "luong", changes=HALF),
    Case("some_rows", "update", "luong", changes=MOSTLY),
    Case("some_rows", "update", "luong", changes=HALF | DRAWN),
    Case("cores", "many", "small"),
    Case("cores", "many", "g2p"),
    Case("cores", "many", "small", changes=BEAM),
    Case("branch", "update", "luong"),
    Case("branch", "update", "transformer"),
    Case("in_turn", "population", "small", (9, 14)),
    Case("in_turn", "population", "small", (10, 29)),
    Case("in_turn", "population", "g2p", (8, 7)),
    Case("rests", "half ended", "small", (9, 14)),
    Case("rests", "population", "small", (9, 14)),
    Case("forced", "update", "luong"),
    Case("matrices", "update", "transformer"),
    Case("bfloat16", "update", "luong", changes=BFLOAT16),
    Case("bfloat16", "update", "transformer", changes=BFLOAT16),
    Case("bfloat16", "greedy", "luong", changes=BFLOAT16),
    Case("bfloat16", "beam", "luong", changes=BFLOAT16 | BEAM),
    Case("narrow_slopes", "update", "luong", changes=BFLOAT16),
    Case("halves", "update", "luong", changes=BFLOAT16),
    Case("made_apart", "update", "transformer"),
    Case("argmax", "greedy", "luong"),
    Case("log_probability", "greedy", "luong"),
    Case("one_ahead", "greedy", "luong"),
    Case("two_sizes", "greedy", "luong"),
    Case("uncollected", "many", "g2p"),
    Case("top_k", "beam", "luong", changes=BEAM),
    Case("compiled_ahead", "start", "small"),
    Case("shapes", "epoch", "luong"),
    Case("shapes", "epoch", "small"),
)
OF_RUN = (
    Case("shrinking", "trained greedy", "run"),
    Case("shrinking", "trained beam", "run", changes=BEAM),
)


def pair(case: Case, rounds: int) -> tuple[list[Arm], list[list[float]]]:
    """The arms with it and without it, and the seconds of each in turn; who begins changes."""
    contexts = contextlib.nullcontext, functools.partial(off, case.name)
    arms, seconds = [], [[], []]
    for context in contexts:
        with context():
            arms.append(KINDS[case.kind](case))
    sides = list(zip(contexts, arms, seconds, strict=True))
    for turn in range(rounds):
        for context, arm, times in sides[:: 1 if turn % 2 else -1]:
            with context():
                times.append(arm.seconds())
    return arms, seconds


def row(case: Case, arms: Sequence[Arm], seconds: Sequence[Sequence[float]]) -> str:
    """As Markdown."""
    ratios = np.divide(*seconds)
    shaped = case.kind in ("update", "population", "half ended")
    shape = f", {case.shape[0]} x {case.shape[1]}" if shaped else ""
    cells = [
        case.name,
        f"{case.kind}, `{case.workload}`{shape}",
        *(f"{np.median(times) * 1e3:,.1f}" for times in seconds),
        f"{np.median(ratios):.2f} [{ratios.min():.2f} to {ratios.max():.2f}, {len(ratios)} pairs]",
        " / ".join(arm.note for arm in arms if arm.note),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="See the top of this file.")
    parser.add_argument("--only", action="append", choices=PLAIN, help="all without it")
    parser.add_argument("--workload", choices=WORKLOADS)
    parser.add_argument("--run", help="a folder")
    parser.add_argument("--shape", type=parse_shape)
    flags = parser.parse_args()
    cases = OF_RUN if flags.run else CASES
    if unfit := set(flags.only or ()) - {case.name for case in cases}:
        parser.error(f"--only={unfit.pop()} is measured {'without' if flags.run else 'with'} --run")
    use_cores()
    # A start compiles as for the first time, whatever an earlier run has left.
    jax.config.update("jax_enable_compilation_cache", False)
    given = {name: getattr(flags, name) for name in ("workload", "shape") if getattr(flags, name)}
    print(f"{environment()['device']}; {look_around(before=True)}")
    print(f"GLIBC_TUNABLES: {os.environ.get('GLIBC_TUNABLES', 'none')}\n")
    print("| optimisation | where | on, ms | off, ms | on / off | more, on / off |")
    print("|---|---|---:|---:|---|---|")
    began, done = time.perf_counter(), []
    if flags.run:
        given["workload"] = flags.run
    for case in (case._replace(**given) for case in cases):
        if case.name in (flags.only or PLAIN) and case not in done:
            print(row(case, *pair(case, STARTS if case.kind == "start" else ROUNDS)), flush=True)
            done.append(case)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
