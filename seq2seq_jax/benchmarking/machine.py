"""The machine under the benchmark: is it quiet, how old is this process, how much does it hold?"""

import os
import sys
import time
from typing import NamedTuple

LOAD = 0.3  # processes at work on average of the last minute; more is not quiet
STRETCH = 1.1  # wall time of a busy loop over its processor time; more is not quiet
SPIN = 0.1  # seconds of processor time a core


class Quiet(NamedTuple):
    """What else goes on. `load`: processes at work on average of the last minute, None where this
    process has been at work itself; `stretch`: a busy loop's wall time over processor time."""

    load: float | None
    stretch: float

    @property
    def quiet(self) -> bool:
        return (self.load or 0.0) <= LOAD and self.stretch <= STRETCH

    def __str__(self) -> str:
        state = "quiet" if self.quiet else "NOT QUIET, the timings are worth little"
        load = "" if self.load is None else f"load average {self.load:.2f}, "
        return f"{state} ({load}a busy loop took {self.stretch:.2f} times its processor time)"


def look_around(before: bool) -> Quiet:
    """Spins on each core in turn, and `before` the own work asks for the load average."""
    load = os.getloadavg()[0] if before and hasattr(os, "getloadavg") else None
    return Quiet(load, spin())


def spin() -> float:
    """The largest wall time over processor time of a busy loop, over the cores."""
    if not hasattr(os, "sched_setaffinity"):
        return _stretch()
    before = os.sched_getaffinity(0)
    try:
        stretches = []
        for core in sorted(before):
            os.sched_setaffinity(0, {core})  # of this thread alone
            stretches.append(_stretch())
        return max(stretches)
    finally:
        os.sched_setaffinity(0, before)


def _stretch() -> float:
    wall, busy = time.perf_counter(), time.thread_time()
    while time.thread_time() - busy < SPIN:
        pass
    return (time.perf_counter() - wall) / (time.thread_time() - busy)


def process_age() -> float:
    """Seconds since this process was started; since this module's import where nobody knows."""
    try:
        with open("/proc/self/stat", encoding="utf-8") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return time.perf_counter() - _IMPORTED
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def peak_memory() -> int:
    """Bytes that this process has held at most, on the host."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


_IMPORTED = time.perf_counter()
