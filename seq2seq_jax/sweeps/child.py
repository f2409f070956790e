"""A run of a sweep as a child process; what it prints goes to log.txt in the run's folder."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from seq2seq_jax.config import PROJECT
from seq2seq_jax.sweeps.runner import Outcome, Run

BUSY = 75  # exit status of `train` where another process trains in the folder
STOPPED = {0, 128 + signal.SIGTERM, -signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGINT}
LOG = "log.txt"


class Child:
    """`python -m seq2seq_jax train --workdir=RUN`, started at once.

    It has its own session, so that Ctrl-C on the terminal reaches the sweep alone, which then asks
    its children to save and end.
    """

    def __init__(self, run: Run, flags: Sequence[str] = (), environment: Mapping[str, str] = {}):
        self.run = run
        self._started = time.monotonic()
        self._told = False
        self._log = run.folder / LOG
        self._offset = self._log.stat().st_size if self._log.exists() else 0
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                train_command(run.folder, flags),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment, "PYTHONPATH": path},
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def poll(self) -> Outcome | None:
        """How it ended, or None while it goes on."""
        code = self._process.poll()
        return None if code is None else self._outcome(code)

    def wait(self) -> Outcome:
        return self._outcome(self._process.wait())

    def stop(self) -> None:
        """Asks it to save and end."""
        self._told = True
        self._process.terminate()

    def kill(self) -> None:
        self._told = True
        self._process.kill()

    def step(self) -> tuple[int, int]:
        """(updates done, updates in all) by its last line of progress; (0, 0) before the first."""
        found = re.findall(r"step (\d+)/(\d+)", self._text(2000))
        return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)

    def _outcome(self, code: int) -> Outcome:
        if (self.run.folder / "DONE").exists():
            return Outcome(self.run, "done", self.seconds)
        if code == BUSY:
            return Outcome(self.run, "busy", self.seconds)
        if self._told or code in STOPPED - {0}:
            return Outcome(self.run, "stopped", self.seconds)
        return Outcome(self.run, "failed", self.seconds, self._error(code))

    def _error(self, code: int) -> str:
        """The traceback or message that the child ended with, and how it ended."""
        text = self._text(20_000)
        starts = [text.rfind(mark) for mark in ("Traceback (most recent call last)", "error: ")]
        if max(starts) >= 0:
            return text[min(start for start in starts if start >= 0) :].strip()
        ended = f"signal {-code}" if code < 0 else f"exit status {code}"
        if code == -signal.SIGKILL:
            ended += " (killed; out of memory?)"
        return "\n".join([*text.splitlines()[-20:], f"ended by {ended}, see {self._log}"])

    def _text(self, last: int) -> str:
        """The end of what this process has printed."""
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._offset, size - last))
            return log.read().decode("utf-8", errors="replace")


def train_command(folder: Path, flags: Sequence[str]) -> list[str]:
    """The command line that starts or resumes the run in `folder`."""
    return [sys.executable, "-P", "-m", "seq2seq_jax", "train", f"--workdir={folder}", *flags]
