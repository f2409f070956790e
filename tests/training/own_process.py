"""The tiny run as a process of its own, to be killed or to have other devices.

Each is forked from a server that has imported everything and has begun nothing: importing takes
longer than the tiny run itself.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax

from tests.training import tiny_run

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([tiny_run.__name__])


class OwnProcess:
    """`tiny_run.main` in `folder`; `cache` is for compiled programs, `train` of the config.

    `prepare`, a function of a module, is called in the process before.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        train: Mapping[str, Any],
        pause: float = 0.0,
        members: int = 1,
        environment: Mapping[str, str] = MappingProxyType({}),
        prepare: Callable[[], None] | None = None,
    ):
        self._errors = folder.with_name(f"{folder.name}.stderr")
        arguments = folder, dict(train), pause, members
        inputs = self._errors, cache, dict(environment), prepare, arguments
        self._process = SERVER.Process(target=_begin, args=inputs)
        self._process.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()

    @property
    def code(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def terminate(self) -> None:
        os.kill(self._process.pid, signal.SIGTERM)

    def wait_for(self, happened: Callable[[], bool], what: str) -> bool:
        """True as soon as `happened()`, False where the process ended first."""
        deadline = time.monotonic() + 120
        while not happened():
            if self.code is not None:
                return False
            assert time.monotonic() < deadline, f"no {what} in 120 s"
            time.sleep(0.0005)
        return True

    def finish(self, code: int = 0) -> str:
        """Waits for its end, with this exit status; returns what it said on standard error."""
        self._process.join(timeout=180)
        said = self._errors.read_text(encoding="utf-8")
        assert self.code == code, said
        return said


def _begin(
    errors: Path,
    cache: Path,
    environment: dict,
    prepare: Callable[[], None] | None,
    arguments: tuple,
) -> None:
    with errors.open("wb") as file:
        os.dup2(file.fileno(), 2)
    os.environ |= environment
    # Starts again and again: compiled once for all.
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    if prepare is not None:
        prepare()
    tiny_run.main(*arguments)
