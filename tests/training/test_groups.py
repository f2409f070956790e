"""A run goes on the way it began: which folders train together."""

import shutil

import pytest

from seq2seq_jax.training import groups
from seq2seq_jax.types import InputError


@pytest.fixture
def folders(tmp_path):
    found = [tmp_path / cell / "seed0" for cell in "abc"]
    for folder in found:
        folder.mkdir(parents=True)
    return found


def save(folder, name="10"):
    (folder / "checkpoints" / "last" / name).mkdir(parents=True)


def test_what_has_begun(folders):
    one, two, three = folders
    assert not groups.begun(one)
    save(one, "10.orbax-checkpoint-tmp-1")  # torn
    assert not groups.begun(one)
    save(one)
    (two / "DONE").touch()
    assert groups.begun(one) and groups.begun(two) and not groups.begun(three)
    assert [groups.group_of(folder) for folder in folders] == [[one], [two], []]


def test_a_new_start_finds_no_curves_of_an_old_one(folders):
    left = folders[0] / "tensorboard" / "events.out"
    left.parent.mkdir()
    left.touch()
    groups.clear(folders[0])
    assert not left.parent.exists()


def test_a_group_binds_all_once_one_has_a_checkpoint(folders):
    groups.form(folders)
    assert [groups.group_of(folder) for folder in folders] == [[], [], []]
    save(folders[1])
    assert [groups.group_of(folder) for folder in folders] == [folders] * 3
    groups.form(folders)  # the same ones may go on
    with pytest.raises(InputError, match=r"began as one of 3 runs .*--workdir=.*b.seed0"):
        groups.leave(folders[0])
    with pytest.raises(InputError, match="began as one of 3 runs"):
        groups.form(folders[:2])
    with pytest.raises(InputError, match="began as one of 3 runs"):
        groups.form(folders[::-1])  # lanes have an order


def test_a_group_that_saved_nothing_binds_nobody(folders):
    one, two, _ = folders
    groups.form(folders)
    groups.leave(one)
    save(one)
    assert [groups.group_of(folder) for folder in folders] == [[one], [], []]
    groups.form(folders[1:])
    with pytest.raises(InputError, match=r"seed0 began alone, and goes on alone"):
        groups.form([one, two])


def test_a_sweep_may_be_moved(folders, tmp_path):
    groups.form(folders)
    save(folders[0])
    (tmp_path / "elsewhere").mkdir()
    moved = []
    for folder in folders:
        new = tmp_path / "elsewhere" / folder.parent.name
        folder.parent.rename(new)
        moved.append(new / "seed0")
    assert groups.group_of(moved[2]) == moved


def test_a_lost_member_is_remembered(folders):
    groups.form(folders)
    assert groups.lost(folders[0]) == ""
    groups.lose(folders[0], "the loss is not finite")
    save(folders[1])
    groups.form(folders)
    assert [groups.lost(folder) for folder in folders] == ["the loss is not finite", "", ""]
    assert groups.group_of(folders[0]) == folders


def test_an_emptied_folder_is_lost_and_takes_nobody_back(folders):
    groups.form(folders)
    for folder in folders:
        save(folder, "20")
    shutil.rmtree(folders[1])
    folders[1].mkdir()
    groups.form(folders)
    assert [groups.lost(folder) for folder in folders] == ["", groups.EMPTIED, ""]
    assert [groups.group_of(folder) for folder in folders] == [folders] * 3
    groups.lose(folders[1], "the loss is not finite")  # when it was tried again
    groups.form(folders)
    assert groups.lost(folders[1]) == "the loss is not finite"


def test_deleted_checkpoints_are_told_from_those_that_were_not_yet_saved(folders):
    groups.form(folders)
    save(folders[0], "10")  # killed before the others saved theirs: all begin again
    assert groups.emptied(folders) == []
    save(folders[2], "10")
    save(folders[0], "20")
    groups.lose(folders[1], "the loss of step 3 is not finite")
    assert groups.emptied(folders) == []
    groups.lose(folders[1], "")
    groups.form(folders)
    assert [groups.lost(folder) for folder in folders] == ["", groups.EMPTIED, ""]


def test_a_group_is_told_how_it_can_go_on_without_an_emptied_folder(folders):
    one, two, _ = folders
    groups.form(folders)
    save(one)
    shutil.rmtree(two)
    for others in ([one], folders[::2]):
        with pytest.raises(InputError, match=r"a.seed0.* with \S*b.seed0, which was emptied"):
            groups.form(others)
    with pytest.raises(InputError, match=r"empty that folder but for a config\.json"):
        groups.leave(one)
    assert groups.way_out(folders[:2]) == ""
    two.mkdir()
    groups.leave(two)
    save(two)
    with pytest.raises(InputError, match=r"(?s)began alone.* empty that folder"):
        groups.form(folders)


def test_a_torn_record_is_named(folders):
    (folders[0] / groups.NAME).write_text("")
    with pytest.raises(InputError, match=r"population\.json cannot be read .*delete it"):
        groups.group_of(folders[0])
