"""Saving, pruning, damage, and a disk that is full."""

import errno
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from seq2seq_jax.training import checkpoints as module
from seq2seq_jax.training.checkpoints import (
    Checkpoints,
    explained_disk_errors,
    restore_average,
    restore_best,
)
from seq2seq_jax.training.step import TrainState, init_state
from seq2seq_jax.types import InputError


def make_state(value: float, ema_decay: float = 0.5) -> TrainState:
    value = float(value)
    params = {"encoder": {"kernel": jnp.full((3, 4), value)}, "bias": jnp.full(4, -value)}
    state = init_state(params, optax.adam(1.0), ema_decay)
    return state._replace(step=jnp.int32(value))


def host(best_step: int, **values):
    return {"best_step": best_step} | values


def assert_same(found, want):
    assert jax.tree.structure(found) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def steps(folder):
    return sorted(int(path.name) for path in folder.iterdir())


@pytest.fixture
def said():
    return []


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_a_state_comes_back_whole(tmp_path, said, ema_decay):
    state = make_state(7.0, ema_decay)
    store = Checkpoints(tmp_path, keep=2)
    assert store.restore(state, said.append) is None and not said
    store.save(7, state, host(-1, seconds=1 / 3, data={"next_index": 7}))
    store.close()
    saved = Checkpoints(tmp_path, keep=2).restore(make_state(0.0, ema_decay), said.append)
    assert saved.step == 7
    assert saved.host == {"best_step": -1, "seconds": 1 / 3, "data": {"next_index": 7}}
    assert_same(saved.tree, state)
    assert said == ["going on from the checkpoint of step 7"]


def test_the_newest_are_kept_and_the_best_they_tell_of(tmp_path):
    store = Checkpoints(tmp_path, keep=2)
    seen = []
    for step, best in [(10, 10), (20, 20), (30, 20), (40, 20), (50, 50), (60, 50)]:
        if step == best:
            store.save_best(step, make_state(step).params)
        store.save(step, make_state(step), host(best))
        seen.append((steps(tmp_path / "last"), steps(tmp_path / "best")))
    assert seen == [
        ([10], [10]),
        ([10, 20], [10, 20]),
        ([20, 30], [20]),
        ([30, 40], [20]),
        ([40, 50], [20, 50]),
        ([50, 60], [50]),
    ]


def test_one_for_a_signal_takes_the_place_of_none_and_is_in_no_average(tmp_path, said):
    store = Checkpoints(tmp_path, keep=2)
    like, seen = make_state(0).params, []
    for step, planned in [(10, True), (20, True), (25, False), (30, True), (40, True)]:
        store.save(step, make_state(step), host(-1, planned=planned))
        if not planned:  # and the run goes on in another process
            store.close()
            store = Checkpoints(tmp_path, keep=2)
            assert store.restore(make_state(0), said.append).step == step
        mean = None
        if step > 10:
            mean = float(restore_average(tmp_path, like, 2).tree["encoder"]["kernel"].mean())
        seen.append((steps(tmp_path / "last"), mean))
    assert seen == [
        ([10], None),
        ([10, 20], 15),
        ([10, 20, 25], 15),
        ([20, 25, 30], 25),
        ([30, 40], 35),
    ]
    with pytest.raises(InputError, match="has 2 checkpoints to average, not 3"):
        restore_average(tmp_path, like, 3)


def test_a_best_without_its_checkpoint_is_forgotten(tmp_path, said):
    """Killed between the two saves: the run has not reached that step yet."""
    store = Checkpoints(tmp_path, keep=2)
    store.save_best(10, make_state(10).params)
    store.save(10, make_state(10), host(10))
    store.save_best(20, make_state(20).params)
    store.close()
    again = Checkpoints(tmp_path, keep=2)
    assert again.restore(make_state(0), said.append).step == 10
    assert steps(tmp_path / "best") == [10]
    again.save_best(20, make_state(20).params)
    again.save(20, make_state(20), host(20))
    assert restore_best(tmp_path, make_state(0).params).step == 20


def test_a_save_that_was_killed_leaves_nothing(tmp_path, said):
    store = Checkpoints(tmp_path, keep=2)
    store.save(10, make_state(10), host(-1))
    store.close()
    torn = tmp_path / "last" / "20.orbax-checkpoint-tmp"
    (tmp_path / "last" / "10").rename(torn)
    again = Checkpoints(tmp_path, keep=2)
    assert not torn.exists()
    assert again.restore(make_state(0), said.append) is None
    again.save(20, make_state(20), host(-1))
    assert [path.name for path in (tmp_path / "last").iterdir()] == ["20"]


def test_restore_best(tmp_path):
    store = Checkpoints(tmp_path, keep=1)
    with pytest.raises(InputError, match="nothing has been evaluated"):
        restore_best(tmp_path, make_state(0).params)
    store.save_best(10, make_state(10).params)
    store.save(10, make_state(10), host(10))
    like = jax.eval_shape(lambda: make_state(0).params)
    assert_same(restore_best(tmp_path, like).tree, make_state(10).params)
    other = {"encoder": like["encoder"], "bias": jax.ShapeDtypeStruct((5,), jnp.float32)}
    with pytest.raises(InputError, match=r"another config: bias is float32\[4\], not float32\[5\]"):
        restore_best(tmp_path, other)
    with pytest.raises(InputError, match=r"bias is float32\[4\], not absent"):
        restore_best(tmp_path, {"encoder": like["encoder"]})
    with pytest.raises(InputError, match="does not exist"):
        restore_best(tmp_path / "elsewhere", like)


def test_a_changed_letter_in_the_json_is_damage(tmp_path, said):
    two_checkpoints(tmp_path)
    path = tmp_path / "last" / "20" / "host" / "metadata"
    path.write_text(path.read_text().replace("best_step", "bext_step"))
    assert Checkpoints(tmp_path, keep=2).restore(make_state(0), said.append).step == 10
    assert "checksum" in said[0]


def truncate(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


def remove_arrays(folder):
    shutil.rmtree(folder / "state")


DAMAGES = [truncate, empty, remove_arrays]


def two_checkpoints(tmp_path):
    store = Checkpoints(tmp_path, keep=2)
    for step in (10, 20):
        store.save_best(step, make_state(step).params)
        store.save(step, make_state(step), host(step))
    store.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_one_is_reported_and_the_one_before_it_used(tmp_path, said, damage):
    two_checkpoints(tmp_path)
    damage(tmp_path / "last" / "20")
    store = Checkpoints(tmp_path, keep=2)
    saved = store.restore(make_state(0), said.append)
    assert saved.step == 10
    assert_same(saved.tree, make_state(10))
    assert len(said) == 2 and "cannot be read" in said[0]
    assert str(tmp_path / "last" / "20") in said[0]
    # Its place is free again, and the best of the step that is to come is gone.
    assert steps(tmp_path / "last") == steps(tmp_path / "best") == [10]
    store.save(20, make_state(20), host(10))
    assert steps(tmp_path / "last") == [10, 20]


def test_one_whose_best_is_damaged_is_damaged(tmp_path, said):
    two_checkpoints(tmp_path)
    truncate(tmp_path / "best" / "20")
    like = make_state(0)
    with pytest.raises(InputError, match=r"best/20 cannot be read: .*give the training's command"):
        restore_best(tmp_path, like.params)
    assert Checkpoints(tmp_path, keep=2).restore(like, said.append).step == 10
    assert len(said) == 2 and f"{tmp_path / 'best' / '20'} cannot be read" in said[0]
    assert restore_best(tmp_path, like.params).step == 10


def test_other_numbers_than_were_saved_are_damage(tmp_path, said, monkeypatch):
    """Whole for Orbax, but not what the checksum was made of."""
    two_checkpoints(tmp_path)
    code = module._checksum
    state = make_state(20)
    flipped = state._replace(ema=jax.tree.map(lambda x: x + 2e-6, state.ema))
    store = Checkpoints(tmp_path, keep=2)
    arrays = jax.device_get(module._flat(state))
    monkeypatch.setattr(module, "_checksum", lambda flat, host: code(arrays, host))
    store.save(30, flipped, host(20))
    monkeypatch.undo()
    assert store.restore(state, said.append).step == 20
    assert "checksum" in said[0]


def test_all_damaged_is_an_input_error(tmp_path, said):
    two_checkpoints(tmp_path)
    for step in (10, 20):
        truncate(tmp_path / "last" / str(step))
    with pytest.raises(InputError, match="none of the checkpoints"):
        Checkpoints(tmp_path, keep=2).restore(make_state(0), said.append)
    assert len(said) == 2
    assert steps(tmp_path / "last") == [10, 20]  # nothing is thrown away


def test_a_checkpoint_of_another_model_is_not_used(tmp_path, said):
    two_checkpoints(tmp_path)
    with pytest.raises(InputError):
        Checkpoints(tmp_path, keep=2).restore(make_state(0, ema_decay=0.0), said.append)
    assert "another config" in said[0] and "ema" in said[0]


FULL = {
    "the system's": OSError(errno.ENOSPC, "No space left on device"),
    "a quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "tensorstore's": ValueError("RESOURCE_EXHAUSTED: Failed writing: No space left on device"),
}


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_explained_and_the_last_good_checkpoint_kept(
    tmp_path, said, monkeypatch, name
):
    two_checkpoints(tmp_path)
    store = Checkpoints(tmp_path, keep=2)

    def fail(*args, **kwargs):
        raise FULL[name]

    monkeypatch.setattr(ocp.CheckpointManager, "save", fail)
    full = pytest.raises(InputError, match=r"disk is full.*free some space")
    with full, explained_disk_errors(tmp_path):
        store.save(30, make_state(30), host(20))
    monkeypatch.undo()
    assert Checkpoints(tmp_path, keep=2).restore(make_state(0), said.append).step == 20


def test_a_disk_without_room_for_a_state_is_not_begun_on(tmp_path, monkeypatch):
    two_checkpoints(tmp_path)
    store = Checkpoints(tmp_path, keep=2)
    room = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: room)
    monkeypatch.setattr(ocp.CheckpointManager, "save", lambda *args, **kwargs: pytest.fail("saved"))
    with pytest.raises(OSError, match="No space left") as caught:
        store.save(30, make_state(30), host(20))
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    unknown = room._replace(total=0, free=0)  # as some file systems answer
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: unknown)
    store.save(30, make_state(30), host(20))


def test_other_errors_are_left_alone(tmp_path):
    with pytest.raises(PermissionError), explained_disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "denied")
