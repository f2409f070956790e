import functools
import gc
from concurrent.futures import ProcessPoolExecutor

import jax
import numpy as np
import pytest

from seq2seq_jax.data.vocabulary import Vocabulary
from seq2seq_jax.decoding.strategies import BeamSearch, Sample
from seq2seq_jax.decoding.translate import Translator
from seq2seq_jax.training import mesh
from seq2seq_jax.types import EOS, SPECIALS
from tests.small import SOURCE_SIZE, TARGET_SIZE, rows, small_config, small_model
from tests.training.own_process import SERVER


class Watched(Translator):
    """Notes whether the collector is at work while texts are made, which may then fail; and on how
    many devices they were found."""

    fails = False

    def _translations(self, sources, found):
        self.collects = gc.isenabled()
        self.devices = len(found.token_BNT.sharding.device_set)
        if self.fails:
            raise RuntimeError("no texts")
        return super()._translations(sources, found)


@pytest.fixture(scope="module")
def translator():
    return make_translator()


def make_translator():
    graphdef, _ = small_model()
    sides = [
        Vocabulary("space", False, "nfc", (*SPECIALS, *map(str, range(size - len(SPECIALS)))))
        for size in (SOURCE_SIZE, TARGET_SIZE)
    ]
    return Watched([graphdef], *sides, small_config().evaluation)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("enabled", [False, True])
def test_nothing_is_collected_while_texts_are_made(translator, monkeypatch, enabled, fails):
    """And afterwards the collector is at work as before, whatever has happened."""
    monkeypatch.setattr(translator, "fails", fails)
    sources, before = [np.array([4, 5, EOS])], gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        if fails:
            with pytest.raises(RuntimeError, match="no texts"):
                translator.search([small_model()[1]], sources)
        else:
            ((translation,),) = translator.search([small_model()[1]], sources)
            assert translation.source_tokens == ["0", "1", "</s>"]
        assert not translator.collects
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


def found_on(devices: int, strategy):
    """(devices that took part, translations) in this process, which has begun nothing."""
    jax.config.update("jax_num_cpu_devices", devices)
    mesh.CPU_ROWS = 1
    translator = make_translator()
    lengths = (5, 3, 6, 1, 2, 4)
    sources = [row[:n] for row, n in zip(rows(lengths, 6, SOURCE_SIZE), lengths, strict=True)]
    return translator.search([small_model()[1]], sources, strategy), translator.devices


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [None, BeamSearch(3, 2), Sample(2, temperature=2.0, seed=3)],
    ids=["greedy", "beam", "sample"],
)
def test_cores_that_share_the_rows_find_what_one_finds(strategy):
    with ProcessPoolExecutor(2, SERVER, max_tasks_per_child=1) as pool:
        one, four = pool.map(functools.partial(found_on, strategy=strategy), (1, 4))
    assert (one[1], four[1]) == (1, 4)
    for some, others in zip(one[0], four[0], strict=True):
        for a, b in zip(some, others, strict=True):
            assert a.tokens == b.tokens
            np.testing.assert_allclose(a.score, b.score, rtol=1e-5)
            np.testing.assert_allclose(a.alignment, b.alignment, rtol=1e-5, atol=1e-6)
