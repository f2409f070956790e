"""What a run writes while it trains: metrics.jsonl, timing.jsonl, event files, progress."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

LOG = "log.txt"  # of a run of a sweep: what would be on the terminal
QUIET_SECONDS = 5.0  # between two plain lines of progress


class JsonLines:
    """A file of one JSON object a line, appended to, that can be cut back to a checkpoint."""

    def __init__(self, path: Path, resume_step: int):
        """Opens `path`; lines that come after `resume_step`, or were torn, are cut off."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = _lines_up_to(path, resume_step) if path.exists() else b""
        if not path.exists() or path.stat().st_size != len(kept):
            # Replaced at once: a kill here must not lose the lines that are kept.
            temporary = path.with_name(path.name + ".tmp")
            temporary.write_bytes(kept)
            temporary.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Lines are on the disk before the checkpoint that relies on them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _lines_up_to(path: Path, step: int) -> bytes:
    """The leading lines of training up to `step`.

    A line of the final evaluation ("test/...", written at the best step) ends them too: it is
    written again when the resumed run ends.
    """
    kept = []
    for raw in path.read_bytes().splitlines(keepends=True):
        try:
            line = json.loads(raw)
        except ValueError:  # torn, or not text any more
            break
        if not raw.endswith(b"\n") or line["step"] > step:
            break
        if any(name.startswith("test/") for name in line):
            break
        kept.append(raw)
    return b"".join(kept)


class Logs:
    """All logs of one run; `resume_step` is the checkpoint that it goes on from, 0 = none.

    Progress goes to the file `progress`, or to the terminal where it is None.
    """

    def __init__(
        self, workdir: Path, total_steps: int, resume_step: int, progress: Path | None = None
    ):
        self._metrics = JsonLines(workdir / "metrics.jsonl", resume_step)
        self._timing = JsonLines(workdir / "timing.jsonl", resume_step)
        self._events_dir = workdir / "tensorboard"
        self._events = None
        self._resume_step = resume_step
        if progress is None:
            self._progress = make_progress(total_steps, resume_step)
        else:
            file = progress.open("a", encoding="utf-8")
            self._progress = Lines(total_steps, resume_step, file)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """A line of metrics: nothing in it may differ between two runs of the same command."""
        self._metrics.write({"step": step, **values})
        for name, value in values.items():
            self._writer().add_scalar(name, value, step)
        self._progress.show(values)

    def timing(self, step: int, values: dict[str, float]) -> None:
        self._timing.write({"step": step, **values})

    def advance(self, step: int) -> None:
        self._progress.advance(step)

    def say(self, text: str) -> None:
        self._progress.say(text)

    def sync(self) -> None:
        self._metrics.sync()

    def close(self) -> None:
        self._progress.close()
        self._metrics.close()
        self._timing.close()
        if self._events is not None:
            self._events.close()

    def _writer(self):
        if self._events is None:
            # Late, so that only a run that logs pays for the import.
            from tensorboardX import SummaryWriter

            # purge_step hides what a killed run wrote after the checkpoint.
            purge = self._resume_step + 1 if self._resume_step else None
            self._events = SummaryWriter(str(self._events_dir), purge_step=purge)
        return self._events


def make_progress(total_steps: int, start_step: int) -> "Bar | Lines":
    """A bar on a terminal, plain lines elsewhere."""
    return (Bar if sys.stderr.isatty() else Lines)(total_steps, start_step)


def summary(values: dict[str, float]) -> str:
    """A few numbers for the eye, in the order of the metrics line."""
    shown = ("train/loss", "valid/loss", "valid/bleu", "valid/exact_match")
    return "  ".join(f"{name} {values[name]:.4g}" for name in shown if name in values)


class Bar:
    """rich's bar with rate and remaining time."""

    def __init__(self, total_steps: int, start_step: int):
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(
            "training", total=total_steps, completed=start_step, rate="", note=""
        )
        self._rate = _Rate(total_steps, start_step)
        self._bar.start()

    def advance(self, step: int) -> None:
        rate, _ = self._rate.at(step)
        self._bar.update(self._task, completed=step, rate=f"{rate:.1f} steps/s")

    def show(self, values: dict[str, float]) -> None:
        if text := summary(values):
            self._bar.update(self._task, note=text)

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._bar.stop()


class Lines:
    """One plain line now and then, for log files and pipes: to `file`, or to standard error."""

    def __init__(self, total_steps: int, start_step: int, file: TextIO | None = None):
        self._file = file
        self._rate = _Rate(total_steps, start_step)
        self._total, self._step = total_steps, start_step
        self._spoke = -QUIET_SECONDS

    def advance(self, step: int) -> None:
        self._step = step

    def show(self, values: dict[str, float]) -> None:
        now = time.monotonic()
        valid = any(name.startswith("valid/") for name in values)
        if not valid and now - self._spoke < QUIET_SECONDS:
            return
        self._spoke = now
        rate, left = self._rate.at(self._step)
        pace = f"{rate:.1f} steps/s, {clock(left)} left"
        self.say(f"step {self._step}/{self._total}  {pace}  {summary(values)}")

    def say(self, text: str) -> None:
        print(text, file=self._file or sys.stderr, flush=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _Rate:
    """Steps a second since the start of this process, and the seconds that are left."""

    def __init__(self, total_steps: int, start_step: int):
        self._total, self._start_step = total_steps, start_step
        self._start = time.monotonic()

    def at(self, step: int) -> tuple[float, float]:
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = (step - self._start_step) / seconds
        return rate, (self._total - step) / rate if rate else float("inf")


def clock(seconds: float) -> str:
    """m:ss or h:mm:ss."""
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
