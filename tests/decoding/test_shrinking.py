"""Rows that are done are dropped, and nothing else changes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.decoding import shrinking
from seq2seq_jax.decoding.beam import beam_search
from seq2seq_jax.decoding.penalties import Ranking
from seq2seq_jax.decoding.predictor import Predictor
from seq2seq_jax.decoding.search import Sampling, greedy, sample
from seq2seq_jax.types import EOS, PAD
from tests.small import SOURCE_SIZE, small_model

ROWS, POSITIONS = 8, 9


class Counted(NamedTuple):
    step: jax.Array
    done_B: jax.Array
    total_B: jax.Array
    seen_TB: jax.Array
    work: jax.Array


@pytest.mark.parametrize(
    ("ends", "sizes"),
    [
        ([5, 1, 2, 5, 1, 1, 3, 9], [8, 8, 4, 4, 4, 1, 1, 1, 1]),
        ([1, 1, 1, 1, 1, 1, 1, 4], [8, 1, 1, 1]),
        ([3] * 8, [8] * 3),
        ([9, 9, 9, 9, 9, 2, 2, 2], [8] * 7),  # to the last step, with more than half of them
        ([0] * 8, []),
    ],
)
def test_half_of_the_rows_go_on_when_the_other_half_is_done(ends, sizes, monkeypatch):
    monkeypatch.setitem(shrinking.FEWEST, "cpu", 1)
    steps = 7 if sizes == [8] * 7 else 9
    end_B = jnp.array(ends)

    def advance(loop, given):
        (end_B,) = given
        step = loop.step + 1
        add_B = jnp.where(loop.done_B, 0, end_B + step)
        seen_TB = loop.seen_TB.at[loop.step].set(add_B)
        work = loop.work.at[loop.step].set(len(end_B))
        return Counted(step, step >= end_B, loop.total_B + add_B, seen_TB, work)

    loop = Counted(
        jnp.int32(0), end_B == 0, jnp.zeros(8, int), jnp.zeros((9, 8), int), jnp.zeros(9, int)
    )
    axes = Counted(-1, 0, 0, 1, -1), (0,)
    found = shrinking.until_done(advance, loop, (end_B,), lambda: axes, steps)
    assert found.work.tolist() == sizes + [0] * (9 - len(sizes))
    step_T = np.arange(1, 10)[:, None]
    seen_TB = np.where(step_T <= np.minimum(ends, steps), step_T + np.array(ends), 0)
    np.testing.assert_array_equal(found.seen_TB, seen_TB)
    np.testing.assert_array_equal(found.total_B, seen_TB.sum(axis=0))


MODELS = {
    "two heads": [{"attention.heads": 2, "decoder.input_feeding": True}],
    "memories": [{"attention.memory_term": "coverage", "attention.window": "monotonic"}],
    "transformer": [{"decoder.kind": "transformer", "attention.score": "concat"}],
    "ensemble": [{"attention.score": "none"}, {"attention.score": "biaffine"}],
}
RANKING = Ranking(jnp.float32(1.0), jnp.asarray(False), jnp.float32(0.2), jnp.int32(0))
ANYTHING = Sampling(jnp.float32(1.0), jnp.int32(0), jnp.float32(1.0))
TEMPERATURE = jnp.float32(0.5)  # of the attention


def _greedy(*given):
    return greedy(*given, TEMPERATURE, positions=POSITIONS)


def _beam(*given):
    return beam_search(*given, RANKING, TEMPERATURE, positions=POSITIONS, beam=3, best=2)


def _sample(*given):
    keys = jax.random.split(jax.random.key(3), ROWS)
    return sample(*given, ANYTHING, keys, TEMPERATURE, positions=POSITIONS)


@pytest.mark.parametrize(
    ("search", "name"),
    [(_greedy, "two heads"), (_sample, "memories"), *((_beam, name) for name in MODELS)],
)
def test_a_search_finds_the_same(search, name, monkeypatch):
    source_BS = np.random.default_rng(0).integers(EOS + 1, SOURCE_SIZE, (ROWS, 4)).astype(np.int32)
    source_BS[[1, 3], 2:] = PAD
    source_BS[5] = PAD
    limit_B = jnp.array([9, 7, 1, 4, 5, 9, 2, 6])
    found, halvings = [], []
    put = shrinking._put
    monkeypatch.setattr(shrinking, "_put", lambda *given: halvings.append(1) or put(*given))
    for fewest in (ROWS, 1):
        monkeypatch.setitem(shrinking.FEWEST, "cpu", fewest)
        models = [nnx.merge(*small_model(**overrides)) for overrides in MODELS[name]]
        find = jax.jit(lambda *given, models=models: search(Predictor(models), *given))
        found.append(find(source_BS, limit_B))
    whole, shrunk = found
    assert len(halvings) == 3  # to 4, 2 and 1 rows, and none before
    np.testing.assert_array_equal(shrunk.token_BNT, whole.token_BNT)
    lengths_B = (whole.token_BNT[:, 0] != PAD).sum(axis=1)
    assert len(set(lengths_B.tolist())) >= 3  # they do end at different steps
    for ours, expected in zip(shrunk[1:], whole[1:], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
