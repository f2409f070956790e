import gc

import numpy as np
import pytest

from seq2seq_jax.data.vocabulary import Vocabulary
from seq2seq_jax.decoding.translate import Translator
from seq2seq_jax.types import EOS, SPECIALS
from tests.small import SOURCE_SIZE, TARGET_SIZE, small_config, small_model


class Watched(Translator):
    """Notes whether the collector is at work while texts are made, which may then fail."""

    fails = False

    def _translations(self, sources, found):
        self.collects = gc.isenabled()
        if self.fails:
            raise RuntimeError("no texts")
        return super()._translations(sources, found)


@pytest.fixture(scope="module")
def translator():
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
