"""What this machine's processor and memory offer, without JAX."""

import ctypes
import os
import platform
from pathlib import Path

from ml_collections import ConfigDict

# Hidden numbers from which on an update's blocks of memory are so large that keeping them is worth
# more than threads that never wait for each other, by the decoder's kind: a Transformer's hold all
# positions, and its MLP is wider than it. Measured, see benchmarks/.
WIDE = {"recurrent": 512, "transformer": 256}
M_ARENA_MAX = -8  # of glibc's malloc.h
CPUINFO = Path("/proc/cpuinfo")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes of the machine's memory; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def name() -> str:
    """The processor's. A virtual machine may hide all but its maker, so the numbers of its kind,
    which differ from one generation to the next, come with it."""
    about = _about()
    numbers = [f"{key} {about[key]}" for key in ("cpu family", "model") if key in about]
    known = about.get("model name", platform.machine())
    return f"{known} ({', '.join(numbers)})" if numbers else known


def instructions() -> set[str]:
    """The sets of instructions that it has, as Linux calls them; none where it does not tell."""
    about = _about()
    return set(about.get("flags", about.get("Features", "")).split())


def _about() -> dict[str, str]:
    """What Linux says of the first core; nothing on another system."""
    try:
        first, _, _ = CPUINFO.read_text(encoding="utf-8").partition("\n\n")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def keep_memory_for(model: ConfigDict) -> None:
    """Lets all threads take memory from one arena of glibc, where the model is wide.

    Only the first arena keeps every block that is given back, but threads that share it wait for
    each other. It has to be said before there are other threads, and goes with the settings of
    `launch.sh`: without them nothing is changed.
    """
    kept = "glibc.malloc.mmap_max=0" in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if kept and mallopt and model.decoder.width >= WIDE[model.decoder.kind]:
        mallopt(M_ARENA_MAX, 1)
