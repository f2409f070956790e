"""Where PyTorch is looked for, the library that is built, and the variants that are refused."""

import ctypes
import shutil

import pytest

from seq2seq_jax.benchmarking import torch_arms
from seq2seq_jax.benchmarking.workloads import make_config
from seq2seq_jax.types import InputError


def executable(path, text):
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_without_pytorch_it_says_how_to_get_it(tmp_path):
    python = executable(tmp_path / "python", "#!/bin/sh\necho torch numpy\n")
    with pytest.raises(InputError, match="has no torch and no numpy") as caught:
        torch_arms.find_python(python)
    assert "pip install torch numpy" in str(caught.value)
    assert "--torch-python=" in str(caught.value)


def test_with_pytorch_the_arm_is_that_python(tmp_path):
    python = executable(tmp_path / "python", "#!/bin/sh\n")
    (arm,) = torch_arms.make_arms(python, False, tmp_path)
    assert (arm.command, arm.environment) == ([python, str(torch_arms.PROGRAM)], {})
    assert torch_arms.PROGRAM.exists()


@pytest.mark.parametrize(("text", "words"), [(None, "No such file"), ("#!/bin/sh\nexit 3\n", "no")])
def test_what_is_no_python_is_named(text, words, tmp_path):
    python = str(tmp_path / "python") if text is None else executable(tmp_path / "python", text)
    with pytest.raises(InputError, match=f"--torch-python={python}: {words}"):
        torch_arms.find_python(python)


def test_the_library_answers_yes(monkeypatch, tmp_path):
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler here")
    monkeypatch.setattr(torch_arms, "instructions", lambda: {"avx2"})
    library = torch_arms.build_library(tmp_path)
    assert ctypes.CDLL(str(library)).mkl_serv_intel_cpu_true() == 1


@pytest.mark.parametrize(
    ("flags", "name"),
    [({"avx2", "avx512f"}, "512-bit path"), ({"avx2"}, "256-bit path")],
)
def test_the_library_is_loaded_before_others_by_an_arm_of_its_own(
    flags, name, monkeypatch, tmp_path
):
    monkeypatch.setattr(torch_arms, "instructions", lambda: flags)
    monkeypatch.setattr(torch_arms, "build_library", lambda folder: folder / "intel.so")
    monkeypatch.setattr(torch_arms, "find_python", lambda path: path)
    monkeypatch.setenv("LD_PRELOAD", "other.so")
    installed, wide = torch_arms.make_arms("python", True, tmp_path)
    assert installed.command == wide.command
    assert (installed.name, wide.name) == ("as installed", name)
    assert installed.environment == {}
    assert wide.environment == {"LD_PRELOAD": f"{tmp_path / 'intel.so'} other.so"}


@pytest.mark.parametrize(
    ("flags", "compiler", "words"),
    [(set(), "cc", "no avx2"), ({"avx2"}, None, "no C compiler")],
)
def test_what_the_library_needs_is_named(flags, compiler, words, monkeypatch, tmp_path):
    monkeypatch.setattr(torch_arms, "instructions", lambda: flags)
    monkeypatch.setattr(shutil, "which", lambda name: compiler)
    with pytest.raises(InputError, match=f"--torch-avx512: .*{words}"):
        torch_arms.build_library(tmp_path)


def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    compiler = executable(tmp_path / "cc", "#!/bin/sh\necho broken >&2\nexit 1\n")
    monkeypatch.setattr(torch_arms, "instructions", lambda: {"avx2"})
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(InputError, match="broken"):
        torch_arms.build_library(tmp_path)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("luong", {"model.attention.score": "concat", "teacher_forcing.ratio": 0.5}),
        ("small", {"model.decoder.order": "bahdanau", "data.batch_size": 3}),
        ("transformer", {"model.dtype": "bfloat16"}),
        ("transformer", {"model.encoder.layers": 2, "model.transformer.heads": 2}),
        ("small", {"model.transformer.heads": 2}),
    ],
)
def test_variants_that_it_knows(name, changes):
    torch_arms.refuse(name, make_config(name, changes))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("small", {"model.attention.score": "cosine"}, "score=cosine; it knows dot, general"),
        ("small", {"model.attention.window": "local_m"}, r"model\.attention\.window=local_m$"),
        ("small", {"model.decoder.order": "gnmt"}, "order=gnmt; it knows luong, bahdanau"),
        ("transformer", {"model.transformer.norm": "post"}, "norm=post"),
        ("transformer", {"model.embedding": 128}, "decoder.width are 128, 256, 256"),
        ("luong", {"teacher_forcing.feed": "sample"}, "feed=sample"),
    ],
)
def test_variants_that_it_does_not_know(name, changes, words):
    with pytest.raises(InputError, match=words):
        torch_arms.refuse(name, make_config(name, changes))
