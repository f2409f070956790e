"""What the processor is; one arena of glibc for wide models, with launch.sh's settings alone."""

from types import SimpleNamespace

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax import processor

OURS = "glibc.malloc.mmap_max=0:glibc.malloc.hugetlb=1"


@pytest.mark.parametrize(
    ("kind", "width", "tunables", "said"),
    [
        ("recurrent", 512, OURS, [(-8, 1)]),
        ("recurrent", 511, OURS, []),
        ("transformer", 256, OURS, [(-8, 1)]),
        ("transformer", 255, OURS, []),
        ("recurrent", 512, "glibc.malloc.check=0", []),
        ("recurrent", 512, None, []),
    ],
)
def test_a_wide_model_has_one_arena(kind, width, tunables, said, monkeypatch):
    model = configs.defaults().model
    model.decoder.kind, model.decoder.width = kind, width
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if tunables:
        monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    seen = []
    libc = SimpleNamespace(mallopt=lambda *both: seen.append(both))
    monkeypatch.setattr(processor.ctypes, "CDLL", lambda name: libc)
    processor.keep_memory_for(model)
    assert seen == said


def test_where_there_is_no_glibc_nothing_happens(monkeypatch):
    model = configs.defaults().model
    model.decoder.width = 512
    monkeypatch.setenv("GLIBC_TUNABLES", OURS)
    monkeypatch.setattr(processor.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert processor.keep_memory_for(model) is None


X86 = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
flags\t\t: fpu avx512f avx512_bf16

processor\t: 1
model\t\t: 18
flags\t\t: fpu
"""
ARM = """processor\t: 0
Features\t: fp asimd

Hardware\t: board
"""


@pytest.mark.parametrize(
    ("text", "name", "instructions"),
    [
        (X86, "AMD EPYC (cpu family 25, model 17)", {"fpu", "avx512f", "avx512_bf16"}),
        (ARM, "aarch64", {"fp", "asimd"}),
        (None, "aarch64", set()),
    ],
)
def test_the_processor_is_named(text, name, instructions, monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    if text:
        (tmp_path / "cpuinfo").write_text(text)
    assert (processor.name(), processor.instructions()) == (name, instructions)
