"""One arena of glibc for wide models, under the settings of launch.sh alone."""

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
