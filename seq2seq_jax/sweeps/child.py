"""Runs of a sweep as a child process; what it prints goes to log.txt in the first one's folder."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from seq2seq_jax.config import PROJECT
from seq2seq_jax.sweeps import claims
from seq2seq_jax.sweeps.runner import Outcome, Run, fail
from seq2seq_jax.training.logs import LOG

# Exit status of `train` where another process trains in the folder, or has begun it otherwise.
BUSY = 75
STOPPED = {128 + signal.SIGTERM, -signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGINT}


class Child:
    """`python -m seq2seq_jax train --workdir=RUN ...`, started at once; several train together.

    It has its own session, so that Ctrl-C on the terminal reaches the sweep alone, which then asks
    its children to save and end.
    """

    def __init__(self, runs: Sequence[Run], flags: Sequence[str] = (), own: Mapping[str, str] = {}):
        self.name = name(runs)
        self._left = [run for run in runs if not (run.folder / "DONE").exists()]
        self.size = len(self._left)  # the others only keep their lanes
        for run in self._left:
            if not claims.holder(run.folder):  # who holds it says itself how the run ended
                (run.folder / "FAILED").unlink(missing_ok=True)
        self._started = time.monotonic()
        self._told = False
        self._log = runs[0].folder / LOG  # the other members log their own progress
        self._offset = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                train_command([run.folder for run in runs], flags),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment(), **own},
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def poll(self) -> list[Outcome]:
        """How those runs ended that have ended since the last call."""
        code = self._process.poll()
        ended = [run for run in self._left if code is not None or _has_ended(run)]
        self._left = [run for run in self._left if run not in ended]
        return [self._outcome(run, code) for run in ended]

    def wait(self) -> list[Outcome]:
        self._process.wait()
        return self.poll()

    def stop(self) -> None:
        """Asks it to save and end."""
        self._told = True
        self._process.terminate()

    def kill(self) -> None:
        self._told = True
        self._process.kill()

    def first(self) -> int:
        """The update that it goes on from, by what it printed at its start; 0 for a new run."""
        found = re.findall(r"going on from the checkpoint of step (\d+)", self._text(20_000))
        return min(map(int, found), default=0)  # several: members that went back to a common step

    def step(self) -> tuple[int, int]:
        """(updates done, updates in all) by its last line of progress; (0, 0) before the first."""
        found = re.findall(r"step (\d+)/(\d+)", self._text(2000))
        return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)

    def _outcome(self, run: Run, code: int | None) -> Outcome:
        if (run.folder / "DONE").exists():
            return Outcome(run, "done", self.seconds)
        if (run.folder / "FAILED").exists():  # of one member, by the child itself
            reason = (run.folder / "FAILED").read_text(encoding="utf-8").strip()
            return Outcome(run, "failed", self.seconds, reason)
        if code == BUSY:
            return Outcome(run, "busy", self.seconds)
        if self._told or code in STOPPED:
            return Outcome(run, "stopped", self.seconds)
        return fail(run, self.seconds, self._error(code))

    def _error(self, code: int | None) -> str:
        """The traceback or message that the child ended with, and how it ended."""
        text = self._text(20_000)
        by_signal = code is not None and code < 0
        starts = [text.rfind(mark) for mark in ("Traceback (most recent call last)", "error: ")]
        # After a signal such words are another process's, which found the folder taken.
        if max(starts) >= 0 and not by_signal:
            return text[min(start for start in starts if start >= 0) :].strip()
        ended = f"signal {-code}" if by_signal else f"exit status {code}"
        if code == -signal.SIGKILL:
            ended += " (killed; out of memory?)"
        return "\n".join([*text.splitlines()[-20:], f"ended by {ended}, see {self._log}"])

    def _text(self, last: int) -> str:
        """The end of what this process has printed; nothing where its folder was removed."""
        try:
            with self._log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._offset, size - last))
                return log.read().decode("utf-8", errors="replace")
        except OSError:
            return ""


def _has_ended(run: Run) -> bool:
    return (run.folder / "DONE").exists() or (run.folder / "FAILED").exists()


def name(runs: Sequence[Run]) -> str:
    """`cell/seed0`, or `cell/seed0 and 15 more`."""
    more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    return f"{runs[0].name}{more}"


def train_command(folders: Sequence[Path], flags: Sequence[str]) -> list[str]:
    """The command line that starts or resumes the runs in `folders`, together."""
    workdirs = [f"--workdir={folder}" for folder in folders]
    return [sys.executable, "-P", "-m", "seq2seq_jax", "train", *workdirs, *flags]


def environment() -> dict[str, str]:
    """In which a child finds this project, wherever it is started."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}
