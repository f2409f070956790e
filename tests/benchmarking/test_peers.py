"""Turns with another program: a short one here, which speaks the protocol and needs no PyTorch."""

import pytest

from seq2seq_jax.benchmarking import peers
from seq2seq_jax.types import InputError
from tests.benchmarking.fake_peer import PROGRAM, arm


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(peers, "SETTLE", 0.0)


def test_arms_take_turns_and_each_has_its_environment():
    folders = []

    def write(folder):
        folders.append(folder)
        (folder / "log").write_text("written first\n", encoding="utf-8")

    with peers.Peers([arm("one"), arm("two", MARK="x")], write) as both:
        both.start()
        both.warm_up("train", 3)
        both.window("train", 5)
        both.window("greedy", 2)
        log = (folders[0] / "log").read_text(encoding="utf-8")
        one, two = both.started
    assert log.splitlines() == [
        "written first",
        "one train 3 -", "two train 3 x",
        "one train 5 -", "two train 5 x",
        "one greedy 2 -", "two greedy 2 x",
    ]  # fmt: skip
    assert one.warm_up["train"]["seconds"] == 3
    assert [answer["seconds"] for answer in two.windows["train"]] == [5]
    assert two.windows["greedy"][0]["ours_idle_share"] >= 0
    assert not folders[0].exists()


def test_what_lets_idle_threads_spin_and_what_is_ours_is_not_handed_on(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("KMP_BLOCKTIME", "infinite")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    says = "import json, os; print(json.dumps(dict(os.environ)))"
    with peers.Peers([arm("one", says)], lambda folder: None) as one:
        one.start()
        found = one.started[0].description
    assert not {"OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GLIBC_TUNABLES"} & set(found)
    assert "PATH" in found


def test_without_arms_nothing_is_written():
    with peers.Peers([], lambda folder: pytest.fail("written")) as nobody:
        nobody.start()
        nobody.warm_up("train", 1)
        nobody.window("train", 1)


@pytest.mark.parametrize("program", ["import sys; sys.exit(3)", PROGRAM])
def test_a_program_that_ends_is_named(program):
    with (
        pytest.raises(InputError, match=r"'mine' ended with status (3|1)"),
        peers.Peers([arm("mine", program)], lambda folder: None) as one,
    ):
        one.start()
        one.window("train", 13)
