"""A run that is killed at any moment ends with the same bits as one that is not."""

import random
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from seq2seq_jax.training.checkpoints import Checkpoints, restore_best
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.step import init_state
from tests.training.own_process import OwnProcess
from tests.training.tiny_run import tiny_config, tiny_model

TRAIN = {"steps": 80, "eval_every": 10, "log_every": 5, "ema_decay": 0.9, "schedule": "plateau"}


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
def start(tmp_path_factory):
    """Starts the tiny run in a folder, as a process."""
    return partial(OwnProcess, cache=tmp_path_factory.mktemp("compiled"), train=TRAIN)


def go_on(start, folder: Path, **options) -> str:
    """Trains to the end; what it said."""
    with start(folder, **options) as run:
        return run.finish()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, start):
    folder = tmp_path_factory.mktemp("whole")
    go_on(start, folder)
    found = bits(folder)
    assert found[1] == 80 and found[-1].count(b"valid/loss") == 8
    return found


def saving(folder: Path) -> bool:
    return any((folder / "checkpoints").glob("*/*.orbax-checkpoint-tmp*"))


def lines(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_kill_at_random_moments(tmp_path, start, whole):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown where the test fails
    chance = random.Random(seed)
    kills = 0
    while kills < 3:
        with start(tmp_path, pause=0.05) as run:
            before = lines(tmp_path)
            # Under way: new lines, or the ones after the checkpoint cut off.
            alive = run.wait_for(lambda before=before: lines(tmp_path) != before, "metrics")
            time.sleep(chance.random() * 0.7)
            if chance.random() < 0.5:
                alive = run.wait_for(lambda: saving(tmp_path), "checkpoint")
            if not alive or run.code is not None:
                break  # it came to its end
            run.kill()
            kills += 1
    assert kills >= 2
    go_on(start, tmp_path)
    assert bits(tmp_path) == whole


@pytest.mark.slow
def test_kill_while_a_checkpoint_is_written(tmp_path, start, whole):
    for delay in (0.0, 0.01):
        with start(tmp_path) as run:
            run.wait_for(lambda: not saving(tmp_path), "cleaning up")
            assert run.wait_for(lambda: saving(tmp_path), "checkpoint")
            time.sleep(delay)
            run.kill()
    go_on(start, tmp_path)
    assert bits(tmp_path) == whole


@pytest.mark.slow
def test_sigterm_saves_first(tmp_path, start, whole):
    with start(tmp_path, pause=0.2) as run:
        assert run.wait_for(lambda: lines(tmp_path) >= 4, "metrics")
        run.terminate()
        said = run.finish(code=143)
        assert "stopped by SIGTERM after step" in said
    said = go_on(start, tmp_path)
    assert "going on from the checkpoint of step" in said
    assert bits(tmp_path) == whole


# --- several runs in one program

MEMBERS = 3


def all_bits(folder: Path):
    return [bits(folder / str(i)) for i in range(MEMBERS)]


@pytest.fixture(scope="module")
def whole_group(tmp_path_factory, start):
    folder = tmp_path_factory.mktemp("group")
    go_on(start, folder, members=MEMBERS)
    found = all_bits(folder)
    assert len({metrics for *_, metrics in found}) == MEMBERS
    return found


@pytest.mark.slow
def test_kill_a_population_between_checkpoints_of_two_members(tmp_path, start, whole_group):
    """While the members' checkpoints are written one after another, and at any moment."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown where the test fails
    chance = random.Random(seed)
    with start(tmp_path, pause=0.02, members=MEMBERS) as run:
        folder = tmp_path / "1"
        run.wait_for(lambda: not saving(folder), "cleaning up")
        before = lines(tmp_path / "0")
        assert run.wait_for(lambda: lines(tmp_path / "0") != before, "metrics")
        assert run.wait_for(lambda: saving(folder), "checkpoint")
        time.sleep(chance.random() * 0.1)
        run.kill()
    go_on(start, tmp_path, members=MEMBERS)
    assert all_bits(tmp_path) == whole_group
