"""The progress of a sweep: bars on a terminal, plain lines elsewhere."""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from seq2seq_jax.sweeps.child import Child
from seq2seq_jax.sweeps.runner import Outcome, Run
from seq2seq_jax.training.logs import clock

EVERY_SECONDS = 10.0  # between two plain lines of status
SHOWN = ("valid/exact_match", "valid/bleu")  # besides the metric that chooses the checkpoint


class Standing(NamedTuple):
    """Where a sweep stands."""

    share: float  # of all updates, in [0, 1]
    steps_per_second: float
    seconds_left: float  # infinite before the first update


class Estimate:
    """Adds up the updates of runs that have ended and of those that go on."""

    def __init__(self, runs: int):
        self._runs = runs
        self._ended = 0
        self._steps = 0
        # By child: how many runs it has, the step that they went on from, of how many.
        self._first: dict[str, tuple[int, int, int]] = {}
        self._started = time.monotonic()

    def end(self, child: Child) -> None:
        self._ended += child.size
        step, _ = child.step()
        self._steps += child.size * (step - self._first.get(child.name, (0, 0, 0))[1])

    def skip(self, runs: int) -> None:
        """Counts runs that could not begin."""
        self._ended += runs

    def standing(self, children: Sequence[Child]) -> Standing:
        share, steps = float(self._ended), self._steps
        for child in children:
            step, total = child.step()
            if total:
                if child.name not in self._first:
                    self._first[child.name] = child.size, child.first(), total
                _, first, _ = self._first[child.name]
                share += child.size * step / total
                steps += child.size * (step - first)
        old = sum(size * first / total for size, first, total in self._first.values())
        seconds = max(time.monotonic() - self._started, 1e-9)
        gained = share - old
        left = seconds * (self._runs - share) / gained if gained > 0 else float("inf")
        return Standing(share / max(self._runs, 1), steps / seconds, left)


class Lines(AbstractContextManager):
    """A line when a run starts or ends, and one of status now and then."""

    def __init__(self, runs: int):
        self._runs, self._ended = runs, 0
        self._estimate = Estimate(runs)
        self._spoke = time.monotonic()

    def __exit__(self, *exception: object) -> None:
        return None

    def start(self, child: Child) -> None:
        self.say(f"started  {child.name}")

    def end(self, child: Child) -> None:
        self._estimate.end(child)

    def skip(self, runs: int) -> None:
        self._estimate.skip(runs)

    def report(self, outcome: Outcome) -> None:
        self._ended += 1
        self.say(f"[{self._ended}/{self._runs}] {ended(outcome)}")

    def update(self, children: Sequence[Child]) -> None:
        if time.monotonic() - self._spoke < EVERY_SECONDS:
            return
        self._spoke = time.monotonic()
        share, rate, left = self._estimate.standing(children)
        running = ", ".join(f"{child.name} {_percent(child)}" for child in children)
        self.say(f"{share:4.0%}  {rate:.0f} steps/s, {clock(left)} left  ({running})")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bars(AbstractContextManager):
    """One bar for the sweep and one for each run that goes on."""

    def __init__(self, runs: int):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._estimate = Estimate(runs)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._whole = self._bars.add_task(f"{runs} runs", total=1.0, note="")
        self._tasks = {}

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def start(self, child: Child) -> None:
        self._tasks[child.pid] = self._bars.add_task(f"  {child.name}", total=None, note="")

    def end(self, child: Child) -> None:
        self._estimate.end(child)
        self._bars.remove_task(self._tasks.pop(child.pid))

    def skip(self, runs: int) -> None:
        self._estimate.skip(runs)

    def report(self, outcome: Outcome) -> None:
        self.say(ended(outcome))

    def update(self, children: Sequence[Child]) -> None:
        for child in children:
            step, total = child.step()
            self._bars.update(self._tasks[child.pid], completed=step, total=total or None)
        share, rate, left = self._estimate.standing(children)
        note = f"{rate:.0f} steps/s, {clock(left)} left"
        self._bars.update(self._whole, completed=share, note=note)

    def say(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)


def make_progress(runs: int) -> Lines | Bars:
    return Bars(runs) if sys.stderr.isatty() else Lines(runs)


def ended(outcome: Outcome) -> str:
    """One line on a run that has ended: how, after how long, and its main metrics."""
    text = f"{outcome.state:8} {outcome.run.name} in {clock(outcome.seconds)}"
    if outcome.state == "failed":
        return f"{text}: {(outcome.error.strip().splitlines() or ['(no message)'])[-1]}"
    return text + metrics_text(outcome.run)


def metrics_text(run: Run) -> str:
    """The last values on valid, as `  valid/loss 0.3  valid/bleu 81`; empty before the first."""
    path = run.folder / "metrics.jsonl"
    best = run.config.train.best_metric
    last = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        values = json.loads(line)
        if best in values:
            last = values
    names = dict.fromkeys((best, *SHOWN))
    return "".join(f"  {name} {last[name]:.4g}" for name in names if name in last)


def _percent(child: Child) -> str:
    step, total = child.step()
    return f"{step / total:.0%}" if total else "starting"
