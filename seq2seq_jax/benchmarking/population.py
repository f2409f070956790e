"""Does it pay to train several runs as one program? Times an update of one and of all."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from seq2seq_jax.benchmarking.measured_step import is_forced
from seq2seq_jax.benchmarking.members import Members
from seq2seq_jax.benchmarking.training import shape_of
from seq2seq_jax.config_signature import read_together
from seq2seq_jax.data.batching import Batches, StackedBatches
from seq2seq_jax.data.buckets import Shape
from seq2seq_jax.evaluation.assembly import Assembly, order_seed
from seq2seq_jax.training.loop import total_steps
from seq2seq_jax.training.member import Lane
from seq2seq_jax.types import PAD

ROUNDS = 5  # updates that are timed, of one run and of all in turn


def measure_population(folders: Sequence[Path]) -> dict[str, Any]:
    """What the runs whose config.json these folders hold take, together and one after another.

    Totals are for all updates of all runs, in proportion to the positions of an epoch's batches,
    without compilation, evaluations and checkpoints.

    The answer is JSON: `members`, `updates` of each, `compilations` of the step in one program;
    `alone` (one run) and `together`, each with `seconds` an update, the median, `total_seconds` for
    all runs, `bytes` of states and temporary memory.
    """
    own = read_together(folders)
    parts = Assembly(own[0], folders)
    batches = [parts.batches.with_seed(order_seed(config)) for config in own]
    lanes = [Lane(config, jax.device_get(parts.params(config.seed))) for config in own]
    updates = total_steps(own[0].train, parts.batches.per_epoch)
    late = max(updates - 1, 0)  # a ratio that falls has fallen
    first, last = (all(is_forced(config, step) for config in own) for step in (0, late))
    found = time_population(lanes, parts.graphdef, batches, ROUNDS, 1, step=late)
    answer: dict[str, Any] = {
        "members": len(own),
        "updates": updates,
        "compilations": len(_shapes(batches[0])) * (1 + (first != last)),
    }
    for name, arm, runs in (("alone", found.alone, len(own)), ("together", found.together, 1)):
        median = float(np.median(arm.seconds))
        answer[name] = {
            "seconds": median,
            "total_seconds": median * found.share * updates * runs,
            "bytes": arm.temporary_bytes + arm.state_bytes,
        }
    return answer


class Arm(NamedTuple):
    """One program: `seconds` an update, an entry for each round."""

    seconds: list[float]
    temporary_bytes: int
    state_bytes: int


class Measured(NamedTuple):
    """An update of the first run `alone` and of all runs `together`, on batches of one `shape`.

    `targets`: target tokens of an update of all runs, on average, an entry for each round; `share`:
    positions of a batch of an epoch, on average, as a share of those of this shape.
    """

    alone: Arm
    together: Arm
    targets: list[float]
    shape: Shape
    share: float


def time_population(
    lanes: Sequence[Lane],
    graphdef,
    batches: Sequence[Batches],
    rounds: int,
    updates: int,
    *,
    step: int = 0,
) -> Measured:
    """Times runs in one program and alone, in turn: so many updates of each a round.

    Both programs are compiled for one batch shape, the one that an epoch spends most positions on,
    and see the runs' own batches. Their updates are as update `step` of the runs.
    """
    shared = len({each.seed for each in batches}) == 1
    chosen, share = typical(batches[0])
    sources = batches[0], batches[0] if shared else StackedBatches(batches)
    programs = (
        Members(lanes[:1], graphdef, step=step),
        Members(lanes, graphdef, shared=shared, step=step),
    )
    for program, source in zip(programs, sources, strict=True):
        program.seconds([source[chosen[0]]])  # compiles
    seconds, targets = ([], []), []
    for turn in range(rounds):
        numbers = [chosen[(turn * updates + i) % len(chosen)] for i in range(updates)]
        for program, source, times in zip(programs, sources, seconds, strict=True):
            seen = [source[i] for i in numbers]
            times.append(program.seconds(seen) / updates)
        real = sum(int((batch.target_BT != PAD).sum()) for batch in seen)
        targets.append(real * (len(lanes) if shared else 1) / updates)
    alone, together = (
        Arm(times, program.temporary_bytes(source[chosen[0]]), program.state_bytes())
        for program, source, times in zip(programs, sources, seconds, strict=True)
    )
    return Measured(alone, together, targets, shape_of(batches[0][chosen[0]]), share)


def _shapes(batches: Batches) -> Counter:
    """How many batches of an epoch have each shape."""
    return Counter(shape_of(batches[i]) for i in range(batches.per_epoch))


def typical(batches: Batches) -> tuple[list[int], float]:
    """The batches of the shape that an epoch spends most positions on, by number; and how many
    positions a batch of the epoch has on average, as a share of theirs."""
    counts = _shapes(batches)
    shape = max(counts, key=lambda s: counts[s] * sum(s))
    chosen = [i for i in range(batches.per_epoch) if shape_of(batches[i]) == shape]
    mean = sum(n * sum(s) for s, n in counts.items()) / counts.total()
    return chosen, mean / sum(shape)
