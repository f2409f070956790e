"""Data parallelism: several devices of a CPU do what one does."""

import json
import os

import jax
import numpy as np
import pytest

from seq2seq_jax.training import mesh as meshes
from seq2seq_jax.training import population
from seq2seq_jax.training.mesh import (
    cores_for,
    data_mesh,
    devices_for_runs,
    devices_that_exchange,
    replicated,
    shared_out,
)
from seq2seq_jax.training.population import Together
from seq2seq_jax.types import InputError
from tests.training.own_process import OwnProcess


def test_one_device_takes_any_batch():
    mesh = data_mesh(7, jax.devices()[:1])
    assert mesh.shape == {"rows": 1}
    assert shared_out(mesh) is None and replicated(mesh) is None


def test_arrays_of_the_trainer_compile_nothing_anew_on_one_device(caplog):
    """What was compiled for host arrays takes those of the trainer too."""
    double = jax.jit(lambda x: 2 * x)
    place = replicated(data_mesh(8, jax.devices()[:1]))
    placed = jax.device_put(np.ones(3, np.float32), place, may_alias=False)
    with jax.log_compiles():
        double(np.ones(3, np.float32))
        assert "XLA compilation" in caplog.text
        caplog.clear()
        double(placed)
        assert not caplog.text


@pytest.mark.parametrize(("batch_size", "hint"), [(9, "take 8 or 12,"), (3, "take 4,")])
def test_unequal_shares_are_an_input_error(batch_size, hint):
    devices = jax.devices()[:1] * 4
    with pytest.raises(InputError, match=f"batch_size is {batch_size}, which 4 devices.*{hint}"):
        data_mesh(batch_size, devices)


@pytest.mark.parametrize(
    ("parameters", "rows", "count"),
    [
        (900, 64, 2),  # 32 rows each
        (900, 256, 8),
        (900, 192, 6),  # 8 do not share 192 equally with 32 each
        (900, 63, 1),
        (900, None, 8),  # runs that share nothing
        (1001, 256, 1),
        (1001, None, 1),
    ],
)
def test_devices_of_a_cpu_take_part_where_it_pays(parameters, rows, count, monkeypatch):
    monkeypatch.setattr(meshes, "CPU_PARAMETERS", 1000)
    eight = jax.devices()[:1] * 8
    monkeypatch.setattr(jax, "local_devices", lambda: eight)
    params = {"a": np.zeros(parameters - 1), "b": np.zeros(1)}
    assert len(cores_for(params, rows)) == count
    assert len(devices_for_runs(params)) == (8 if parameters < 1000 else 1)
    assert len(devices_that_exchange()) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert len(cores_for(params, rows)) == 1
    assert devices_for_runs(params) == devices_that_exchange() == eight


def at_once():
    """Members as on a GPU."""
    population.in_turn = lambda: False


def train(folder, devices: int, steps: int, members: int = 1, prepare=None):
    """The loss curve of the tiny run in a process of its own, with that many devices.

    Of several members it is that of the last one. There is dropout, and each update has two parts.
    """
    values = {"steps": steps, "eval_every": 20, "ema_decay": 0.5, "accumulation": 2}
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    inputs = folder, folder.parent / "compiled", values
    options = {"members": members, "environment": {"XLA_FLAGS": flags}, "prepare": prepare}
    with OwnProcess(*inputs, **options) as run:
        said = run.finish()
    assert f"{devices} devices" in said
    assert "compiled 2 times" in said, said  # two shapes, once each
    own = folder if members == 1 else folder / str(members - 1)
    lines = [json.loads(line) for line in (own / "metrics.jsonl").read_text().splitlines()]
    return lines, said


def assert_same_curve(one, other):
    """Equal but for rounding.

    The partial sums of a gradient are added in another order, so single numbers differ in
    their last bit (1.2e-7 was seen over 40 Adam steps); 2e-6 leaves room for another compiler.
    Coins and dropout have to be the same bits, so the share of gold tokens is compared exactly.
    """
    assert [line["step"] for line in one] == [line["step"] for line in other]
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in ("train/gold_share", "train/tokens", "train/ratio"):
            if name in a:
                assert a[name] == b[name]
        for name in ("train/loss", "valid/loss", "train/gradient_norm"):
            if name in a:
                assert a[name] == pytest.approx(b[name], rel=2e-6)


@pytest.mark.slow
def test_four_devices_give_the_loss_curve_of_one_which_takes_over_their_checkpoint(tmp_path):
    one, _ = train(tmp_path / "one", devices=1, steps=40)
    four, _ = train(tmp_path / "four", devices=4, steps=20)
    assert_same_curve([line for line in one if line["step"] <= 20], four)
    moved, said = train(tmp_path / "four", devices=1, steps=40)
    assert "going on from the checkpoint of step 20" in said
    assert_same_curve(one, moved)


@pytest.mark.slow
def test_two_devices_share_the_members_of_a_population(tmp_path):
    """Each has two, and the same numbers come out, in turn and all at once."""
    one, _ = train(tmp_path / "one", devices=1, steps=20, members=4)
    for prepare in (None, at_once):
        folder = tmp_path / f"two {prepare}"
        two, _ = train(folder, devices=2, steps=20, members=4, prepare=prepare)
        assert_same_curve(one, two)


def test_as_many_devices_take_part_as_can_have_equal_shares():
    devices = jax.devices()[:1] * 4
    assert Together(5, False, devices).sharding is None
    for members, count in ((3, 3), (6, 3), (8, 4)):
        assert Together(members, False, devices).sharding.mesh.size == count
