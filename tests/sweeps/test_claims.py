import json
import os
import signal
import subprocess
import sys
import time

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.commands import train
from seq2seq_jax.sweeps import claims

HOLD = """
import sys, time
from pathlib import Path
from seq2seq_jax.sweeps import claims
with claims.claim(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder until it ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_one_process_at_a_time(tmp_path, other):
    assert claims.holder(tmp_path).startswith(f"process {other.pid} on ")
    with pytest.raises(claims.Busy, match=f"process {other.pid} on"), claims.claim(tmp_path):
        raise AssertionError("claimed twice")
    other.communicate()  # ends, and lets go
    assert not claims.holder(tmp_path)
    with claims.claim(tmp_path):
        assert claims.holder(tmp_path).startswith(f"process {os.getpid()} on")
    assert not claims.holder(tmp_path)


def test_a_killed_process_holds_nothing(tmp_path, other):
    other.kill()
    other.wait()
    assert (tmp_path / claims.NAME).read_text()
    with claims.claim(tmp_path):
        pass


def test_an_id_that_another_process_has_now_holds_nothing(tmp_path, other):
    path = tmp_path / claims.NAME
    owner = json.loads(path.read_text())
    path.write_text(json.dumps({**owner, "start": "1"}))
    assert not claims.holder(tmp_path)


def test_another_host_counts_as_alive(tmp_path):
    (tmp_path / claims.NAME).write_text('{"host": "elsewhere", "pid": 1, "start": "1"}')
    with pytest.raises(claims.Busy, match=r"delete .*claim.json if"), claims.claim(tmp_path):
        pass


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(ZeroDivisionError), claims.claim(tmp_path / "new"):
        raise ZeroDivisionError
    assert not claims.holder(tmp_path / "new")


def test_a_command_told_to_end_before_it_trains_lets_go(tmp_path, monkeypatch):
    configs.save(configs.load("configs/default.py"), tmp_path / "config.json")

    def load_data(folders, config):
        assert claims.holder(tmp_path)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    def without(number, frame):
        raise AssertionError("the command did not heed the signal")

    monkeypatch.setattr(train, "train", load_data)
    before = signal.signal(signal.SIGTERM, without)
    try:
        with pytest.raises(SystemExit) as ended:
            train.main([f"--workdir={tmp_path}"])
        assert signal.getsignal(signal.SIGTERM) is without
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    assert not claims.holder(tmp_path)
