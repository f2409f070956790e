"""A run that is killed at any moment ends with the same bits as one that is not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from seq2seq_jax.training.checkpoints import Checkpoints, restore_best
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.step import init_state
from tests.training.tiny_run import tiny_config, tiny_model

ROOT = Path(__file__).parents[2]
TRAIN = {"steps": 80, "eval_every": 10, "log_every": 5, "ema_decay": 0.9, "schedule": "plateau"}


class Run:
    """The tiny run as a process of its own in `folder`."""

    def __init__(self, folder: Path, cache: Path, pause: float = 0.0, members: int = 1):
        self.folder = folder
        # Starts again and again: compiled once for all.
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        arguments = (str(folder), json.dumps(TRAIN), str(pause), str(members))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.tiny_run", *arguments],
            env=environment,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def wait_for(self, happened, what: str) -> bool:
        """True as soon as `happened()`, False where the process ended first."""
        deadline = time.monotonic() + 120
        while not happened():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"no {what} in 120 s"
            time.sleep(0.0005)
        return True

    def finish(self) -> str:
        _, said = self.process.communicate(timeout=180)
        return said


def bits(folder: Path):
    """Parameters, optimiser, step, sums, host state; the best parameters; metrics.jsonl."""
    config = tiny_config(**TRAIN)
    _, params = tiny_model(config)
    like = init_state(params, make_optimizer(config.train), config.train.ema_decay)
    store = Checkpoints(folder / "checkpoints", config.train.keep_checkpoints)
    saved = store.restore(like, lambda text: None)
    store.close()
    best = restore_best(folder / "checkpoints", params)
    leaves = [np.asarray(x).tobytes() for x in jax.tree.leaves((saved.tree, best.tree))]
    host = {name: x for name, x in saved.host.items() if name != "seconds"}
    return leaves, saved.step, best.step, host, (folder / "metrics.jsonl").read_bytes()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("whole")
    with Run(folder, cache) as run:
        said = run.finish()
        assert run.process.returncode == 0, said
    found = bits(folder)
    assert found[1] == 80 and found[-1].count(b"valid/loss") == 8
    return found


def saving(folder: Path) -> bool:
    return any((folder / "checkpoints").glob("*/*.orbax-checkpoint-tmp*"))


def lines(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_kill_at_random_moments(tmp_path, cache, whole):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown where the test fails
    chance = random.Random(seed)
    kills = 0
    while kills < 3:
        with Run(tmp_path, cache, pause=0.05) as run:
            before = lines(tmp_path)
            # Under way: new lines, or the ones after the checkpoint cut off.
            alive = run.wait_for(lambda before=before: lines(tmp_path) != before, "metrics")
            time.sleep(chance.random() * 0.7)
            if chance.random() < 0.5:
                alive = run.wait_for(lambda: saving(tmp_path), "checkpoint")
            if not alive or run.process.poll() is not None:
                break  # it came to its end
            os.kill(run.process.pid, signal.SIGKILL)
            run.process.wait()
            kills += 1
    assert kills >= 2
    with Run(tmp_path, cache) as run:
        said = run.finish()
        assert run.process.returncode == 0, said
    assert bits(tmp_path) == whole


@pytest.mark.slow
def test_kill_while_a_checkpoint_is_written(tmp_path, cache, whole):
    for delay in (0.0, 0.01):
        with Run(tmp_path, cache) as run:
            run.wait_for(lambda: not saving(tmp_path), "cleaning up")
            assert run.wait_for(lambda: saving(tmp_path), "checkpoint")
            time.sleep(delay)
            os.kill(run.process.pid, signal.SIGKILL)
            run.process.wait()
    with Run(tmp_path, cache) as run:
        said = run.finish()
        assert run.process.returncode == 0, said
    assert bits(tmp_path) == whole


@pytest.mark.slow
def test_sigterm_saves_first(tmp_path, cache, whole):
    with Run(tmp_path, cache, pause=0.2) as run:
        assert run.wait_for(lambda: lines(tmp_path) >= 4, "metrics")
        run.process.terminate()
        said = run.finish()
        assert run.process.returncode == 143, said
        assert "stopped by SIGTERM after step" in said
    with Run(tmp_path, cache) as run:
        said = run.finish()
        assert run.process.returncode == 0, said
    assert "going on from the checkpoint of step" in said
    assert bits(tmp_path) == whole


# --- several runs in one program

MEMBERS = 3


def all_bits(folder: Path):
    return [bits(folder / str(i)) for i in range(MEMBERS)]


@pytest.fixture(scope="module")
def whole_group(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("group")
    with Run(folder, cache, members=MEMBERS) as run:
        said = run.finish()
        assert run.process.returncode == 0, said
    found = all_bits(folder)
    assert len({metrics for *_, metrics in found}) == MEMBERS
    return found


@pytest.mark.slow
def test_kill_a_population_between_checkpoints_of_two_members(tmp_path, cache, whole_group):
    """While the members' checkpoints are written one after another, and at any moment."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown where the test fails
    chance = random.Random(seed)
    with Run(tmp_path, cache, pause=0.02, members=MEMBERS) as run:
        folder = tmp_path / "1"
        run.wait_for(lambda: not saving(folder), "cleaning up")
        before = lines(tmp_path / "0")
        assert run.wait_for(lambda: lines(tmp_path / "0") != before, "metrics")
        assert run.wait_for(lambda: saving(folder), "checkpoint")
        time.sleep(chance.random() * 0.1)
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
    with Run(tmp_path, cache, members=MEMBERS) as run:
        said = run.finish()
        assert run.process.returncode == 0, said
    assert all_bits(tmp_path) == whole_group
