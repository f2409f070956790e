"""Where the runs of a sweep are trained: on this machine, or by Slurm."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seq2seq_jax.sweeps.child import Child
from seq2seq_jax.sweeps.progress import make_progress
from seq2seq_jax.sweeps.runner import Job, Outcome, fail
from seq2seq_jax.types import InputError

POLL_SECONDS = 0.2


def local(jobs: Sequence[Job], workers: int = 1, flags: Sequence[str] = ()) -> list[Outcome]:
    """Trains on this machine, `workers` jobs at a time, each with its share of the cores.

    After Ctrl-C (or SIGTERM, SIGHUP) the children save and end; a second Ctrl-C kills them. The
    runs that had not begun are missing from the result.
    """
    if not jobs:
        return []
    waiting, outcomes = deque(jobs), []
    workers = min(workers, len(jobs))
    shares = core_shares(workers)
    # Together the workers take the memory of an accelerator that one process would take alone.
    memory = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / workers:.2f}"} if workers > 1 else {}
    running: dict[int, Child] = {}  # worker -> what it trains
    with interruptible(), make_progress(_count(jobs)) as progress:
        try:
            while waiting or running:
                for worker in range(workers):
                    if waiting and worker not in running:
                        job = waiting.popleft()
                        try:
                            child = running[worker] = Child(job, flags, memory)
                        except FileNotFoundError as error:  # the folder was removed meanwhile
                            left = _to_do(job)
                            progress.skip(len(left))
                            for run in left:
                                outcomes.append(fail(run, 0.0, f"error: {error}"))
                                progress.report(outcomes[-1])
                            continue
                        if shares:
                            _bind(child.pid, shares[worker])
                        progress.start(child)
                for worker, child in list(running.items()):
                    running_still = child.running
                    for outcome in child.poll():
                        outcomes.append(outcome)
                        progress.report(outcome)
                    if not running_still:
                        del running[worker]
                        progress.end(child)
                progress.update(list(running.values()))
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            progress.say("stopping: the runs save and end (Ctrl-C again kills them)")
        finally:  # after Ctrl-C, or an error here; otherwise none is left
            outcomes += _stop(list(running.values()))
    return outcomes


def slurm(
    jobs: Sequence[Job],
    folder: Path,
    parameters: Mapping[str, Any] = {},
    flags: Sequence[str] = (),
    cluster: str = "slurm",
) -> list[Outcome]:
    """Submits the jobs through submitit and waits for them.

    Args:
      folder: of the jobs' scripts and logs.
      parameters: for submitit's AutoExecutor, as `{"timeout_min": 60, "slurm_partition": "gpu"}`.
      cluster: `slurm`, or what else submitit knows (`local`).

    After Ctrl-C (or SIGTERM, SIGHUP) the jobs go on; their runs come back as `queued`.
    """
    if not jobs:
        return []
    try:
        import submitit
    except ImportError:
        raise InputError(
            "--executor=slurm needs submitit, the extra `slurm`: pip install submitit"
        ) from None
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(name="seq2seq_jax", **parameters)
        with executor.batch():
            submitted = [executor.submit(train, job, flags) for job in jobs]
    except (RuntimeError, NameError, TypeError) as error:
        raise InputError(f"submitit did not take the jobs: {error}") from error
    left = dict(zip(submitted, map(_to_do, jobs), strict=True))
    outcomes: list[Outcome] = []
    with interruptible(), make_progress(_count(jobs)) as progress:
        ids = ", ".join(job.job_id for job in submitted)
        progress.say(f"submitted {len(submitted)} jobs: {ids}")
        try:
            while left:
                for job in [job for job in left if job.done()]:
                    for outcome in _result(job, left.pop(job)):
                        outcomes.append(outcome)
                        progress.report(outcome)
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            ids = " ".join(job.job_id for job in left)
            progress.say(f"the jobs go on without this process; to end them: scancel {ids}")
            outcomes += [Outcome(run, "queued", 0.0) for runs in left.values() for run in runs]
    return outcomes


def train(job: Job, flags: Sequence[str]) -> list[Outcome]:
    """Trains runs in a child process and waits for it: what a job does on its node.

    Where it is interrupted itself, as submitit does at a time limit, the child saves and ends
    first: left behind, it would hold its runs against every other node.
    """
    child = Child(job, flags)
    try:
        return child.wait()
    except BaseException:
        _stop([child])
        raise


def _result(submitted: Any, runs: Job) -> list[Outcome]:
    if error := submitted.exception():
        return [
            Outcome(run, "done", 0.0)
            if (run.folder / "DONE").exists()
            else fail(run, 0.0, str(error))
            for run in runs
        ]
    return submitted.result()


def _count(jobs: Sequence[Job]) -> int:
    return sum(len(_to_do(job)) for job in jobs)


def _to_do(job: Job) -> Job:
    """The others of a job only keep their lanes."""
    return [run for run in job if not (run.folder / "DONE").exists()]


def core_shares(workers: int) -> list[list[int]]:
    """The cores of each worker, as even as can be; empty where there is nothing to share out."""
    if workers < 2 or not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < workers:
        return []
    return [
        cores[len(cores) * i // workers : len(cores) * (i + 1) // workers] for i in range(workers)
    ]


def _bind(pid: int, cores: Sequence[int]) -> None:
    with suppress(OSError):  # it has ended already, or the machine does not allow it
        os.sched_setaffinity(pid, cores)


def _stop(children: Sequence[Child]) -> list[Outcome]:
    for child in children:
        child.stop()
    try:
        return [outcome for child in children for outcome in child.wait()]
    except KeyboardInterrupt:
        for child in children:
            child.kill()
        return [outcome for child in children for outcome in child.wait()]


@contextmanager
def interruptible() -> Generator[None]:
    """SIGTERM and SIGHUP end the sweep as Ctrl-C does; ignored signals, as under nohup, stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    heeded = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])
