import importlib
import os
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import jax
import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.commands import common
from seq2seq_jax.types import InputError


def test_overrides_are_split_off():
    arguments = [
        "--config=x.py", "--config.a.b=1", "--config.c", "text", "-config.d=2", "--noconfig.e",
        "--workdir=w", "--", "--config.f=3",
    ]  # fmt: skip
    overrides, others = common.split_overrides(arguments)
    assert overrides == ["--config.a.b=1", "--config.c", "text", "-config.d=2", "--noconfig.e"]
    assert others == ["--config=x.py", "--workdir=w", "--", "--config.f=3"]


def test_overrides_have_the_type_of_their_key():
    values = common.parse_overrides(
        [
            "--config.train.epochs=3",
            "--config.seed",
            "7",
            "--config.model.attention.score=concat",
            "--config.data.joint_vocabulary",
            "--noconfig.model.encoder.bidirectional",
            "--config.evaluation.modes=forced,greedy",
            "--config.evaluation.show=('je suis étudiant', 'il mange')",
        ]
    )
    assert values == {
        "train.epochs": 3.0,
        "seed": 7,
        "model.attention.score": "concat",
        "data.joint_vocabulary": True,
        "model.encoder.bidirectional": False,
        "evaluation.modes": ("forced", "greedy"),
        "evaluation.show": ("je suis étudiant", "il mange"),
    }
    assert configs.load("configs/default.py", values).train.epochs == 3.0
    assert common.parse_overrides([]) == {}
    for written in ("('forced','free')", "'forced','free'"):
        modes = common.parse_overrides([f"--config.evaluation.modes={written}"])
        assert modes == {"evaluation.modes": ("forced", "free")}


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config.seed=x", "--config.seed=x"),
        ("--config.train.epochs=many", "--config.train.epochs=many"),
        ("--config.data.joint_vocabulary=maybe", "--config.data.joint_vocabulary=maybe"),
        ("--config.seed", "Missing value for flag --config.seed"),
        ("--config.model=5", "config.model"),
    ],
)
def test_wrong_values_name_the_flag(argument, words):
    with pytest.raises((common.UsageError, InputError)) as caught:
        common.parse_overrides([argument])
    assert words in str(caught.value)


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """No setting of JAX in the environment, and none left behind."""
    for name in list(os.environ):
        if name.startswith("JAX_"):
            monkeypatch.setenv(name, "")  # so that it is put back
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = dict(os.environ)
    yield monkeypatch
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.mark.parametrize(("flag", "folder"), [("~/a", "/home/me/a"), ("b/~", "b/~")])
def test_the_users_folder_is_found(flag, folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for command, other, own in (("report", "diff", folder), ("translate", "pharaoh", [folder])):
        values = importlib.import_module(f"seq2seq_jax.commands.{command}").define()
        common.parse_some(values, [f"--workdir={flag}", f"--{other}={flag}"])
        assert (values.workdir, values[other].value) == (own, folder)


def test_device_is_said(clean, capsys):
    common.use_platform("cpu")
    assert os.environ["JAX_PLATFORMS"] == "cpu"
    assert capsys.readouterr().err == "device: cpu\n"
    cores = [SimpleNamespace(platform="cpu", device_kind="cpu")] * 2
    clean.setattr(jax, "devices", lambda platform: cores)
    common.use_platform("cpu")
    assert capsys.readouterr().err == "device: cpu\n"
    # Several of a kind with a name of its own.
    device = SimpleNamespace(platform="gpu", device_kind="H100")
    clean.setattr(jax, "devices", lambda platform: [device, device])
    common.use_platform("gpu")
    assert os.environ["JAX_PLATFORMS"] == "cuda"
    assert capsys.readouterr().err == "device: 2 x gpu (H100)\n"


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (None, ""),
        ("JAX_NUM_CPU_DEVICES", "1"),
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=3"),
    ],
)
def test_each_core_is_a_device_unless_somebody_has_said_otherwise(clean, said, value):
    clean.setenv("XLA_FLAGS", "--xla_something_else")
    if said:
        clean.setenv(said, value)
    seen = []
    clean.setattr(jax.config, "update", lambda *both: seen.append(both))
    clean.setattr(common, "cores", lambda: 6)
    common.use_cores()
    assert seen == ([] if said else [("jax_num_cpu_devices", 6)])


def test_where_jax_has_begun_its_devices_stay(clean):
    clean.setattr(common, "cores", lambda: 6)
    before = jax.devices()
    common.use_cores()
    assert jax.devices() == before


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("no driver\nmore"), r" \(no driver\)"), (AssertionError(), "")],
)
def test_absent_device_is_an_error(error, reason, clean):
    clean.setattr(jax, "devices", mock.Mock(side_effect=error))
    words = rf"--platform=gpu: JAX finds no such device here{reason}\. .*SEQ2SEQ_JAX_ACCELERATOR"
    with pytest.raises(InputError, match=words):
        common.use_platform("gpu")


def test_compilation_cache_is_on_in_the_users_folder(clean, tmp_path):
    common.use_compilation_cache()
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    assert folder.parent == tmp_path / "seq2seq_jax" / "jax"
    clean.delenv("XDG_CACHE_HOME")
    clean.setenv("HOME", "/home/of/user")
    assert common.cache_folder().is_relative_to("/home/of/user/.cache/seq2seq_jax")


def test_own_cache_folder_wins(clean):
    clean.setenv("JAX_COMPILATION_CACHE_DIR", "/mine")
    common.use_compilation_cache()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/mine"
