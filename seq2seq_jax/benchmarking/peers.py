"""Other programs that train and translate the same workload, in turns with this one."""

import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq_jax.types import InputError

SETTLE = 0.25  # seconds for threads of ours to run out of work before another program is timed
# Not for others: settings that let idle threads spin, what launch.sh sets for this project alone,
# and what hides files beside a program from it.
SPINNING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
UNWANTED = (*SPINNING, "GLIBC_TUNABLES", "PYTHONSAFEPATH")


class Arm(NamedTuple):
    """A program: its name in tables, its command line, and what it adds to the environment.

    The command line goes on with a folder. The program describes itself in a line of JSON on
    standard output and answers each line of its standard input in the same way.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class Peer:
    """An arm at work. Between a question and its answer this program waits, else the other does."""

    def __init__(self, arm: Arm, folder: Path):
        self.arm = arm
        inherited = {k: v for k, v in os.environ.items() if k not in UNWANTED}
        # A session of its own: Ctrl-C is for this program, which ends that one.
        self._process = subprocess.Popen(
            [*arm.command, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**inherited, **arm.environment},
            start_new_session=True,
        )
        self.description: dict[str, Any] = {}
        self.warm_up: dict[str, dict[str, Any]] = {}
        self.windows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def describe(self) -> None:
        """Waits until the program is ready."""
        self.description = self._answer()

    def ask(self, command: str, count: int) -> dict[str, Any]:
        """The answer, and the share of a core that this program took meanwhile."""
        busy, start = time.process_time(), time.perf_counter()
        try:
            self._send(f"{command} {count}\n")
        except BrokenPipeError:
            self._fail()
        answer = self._answer()
        share = (time.process_time() - busy) / (time.perf_counter() - start)
        return {**answer, "ours_idle_share": share}

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else self._fail()

    def _fail(self):
        status = self._process.wait()
        raise InputError(
            f"the program {self.arm.name!r} ended with status {status}; what it said stands above:"
            f" {' '.join(self.arm.command)}"
        )


class Peers:
    """Several arms on the same workload, which `write` writes into a folder.

    As a context it ends them. Without arms nothing happens.
    """

    def __init__(self, arms: Sequence[Arm], write: Callable[[Path], None]):
        self._arms, self._write = arms, write
        self._folder: tempfile.TemporaryDirectory | None = None
        self.started: list[Peer] = []

    def __enter__(self) -> "Peers":
        return self

    def __exit__(self, *_) -> None:
        for peer in self.started:
            peer.close()
        if self._folder is not None:
            self._folder.cleanup()

    def start(self) -> None:
        """Writes the workload and starts each program on it."""
        if not self._arms:
            return
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self._write(folder)
        for arm in self._arms:
            self.started.append(Peer(arm, folder))
            self.started[-1].describe()

    def warm_up(self, command: str, count: int) -> None:
        """A window that does not count."""
        for peer in self.started:
            peer.warm_up[command] = peer.ask(command, count)

    def window(self, command: str, count: int) -> None:
        """Each arm in turn; the others wait."""
        if self.started:
            time.sleep(SETTLE)
        for peer in self.started:
            peer.windows[command].append(peer.ask(command, count))
