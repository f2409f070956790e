"""Rows that are left out: nothing else changes, and nobody looks at them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seq2seq_jax.training import some_rows
from seq2seq_jax.training.some_rows import of_some_rows
from seq2seq_jax.types import PAD
from tests.small import small_model
from tests.training.free_run import BATCH, KEY, free_run

WANTED = jax.random.permutation(jax.random.key(3), 20)  # rows, in the order they become wanted


def largest(x_RV):
    return x_RV.argmax(axis=1).astype(jnp.int32)


@pytest.mark.parametrize("batch", [5, 8, 20])
def test_wanted_rows_are_what_the_function_gives(batch):
    """Batches that eighths divide and others, from no row to all."""
    x_BV = jax.random.normal(jax.random.key(batch), (batch, 50))
    some = jax.jit(lambda wanted_B: of_some_rows(largest, wanted_B, x_BV))
    order = np.array(WANTED)[np.array(WANTED) < batch]
    for count in range(batch + 1):
        wanted_B = np.zeros(batch, bool)
        wanted_B[order[:count]] = True
        got_B = np.array(some(wanted_B))
        np.testing.assert_array_equal(got_B[wanted_B], largest(x_BV)[wanted_B])


@pytest.mark.parametrize("count, rows", [(0, 0), (1, 2), (2, 2), (3, 4), (15, 16), (16, 16)])
def test_rows_are_filled_up_to_the_next_eighth(count, rows):
    seen = []

    def counted(x_R):
        jax.debug.callback(lambda x_R: seen.append(len(x_R)), x_R)
        return x_R

    of_some_rows(counted, jnp.arange(16) < count, jnp.arange(16))
    jax.effects_barrier()
    assert seen == ([rows] if rows else [])


def results(alone, feed):
    """Of a free run at ratio 0.5: what was fed, readouts, and the gradient of their squares."""
    params, batch = small_model()[1], jax.tree.map(jnp.asarray, BATCH)
    real_BT = batch.target_BT != PAD

    def loss(params):
        unrolled, _ = free_run(params, batch, jnp.float32(0.5), KEY, feed=feed, alone=alone)
        readout_BTH = jnp.where(real_BT[..., None], unrolled.readout_BTH, 0.0)
        return jnp.sum(readout_BTH**2), (jnp.where(real_BT, unrolled.fed_BT, -1), readout_BTH)

    gradient, (fed_BT, readout_BTH) = jax.jit(jax.grad(loss, has_aux=True))(params)
    return fed_BT, readout_BTH, gradient


@pytest.mark.parametrize("feed", ["argmax", "sample"])
def test_scheduled_sampling_is_the_same_without_the_predictions_that_nobody_is_fed(
    feed, monkeypatch
):
    """Single tokens; also at positions of padding nothing is fed that matters."""
    monkeypatch.setattr(some_rows, "WORTH", {"cpu": 0})
    wanted = results(False, feed)
    branches = []
    switch = jax.lax.switch
    monkeypatch.setattr(jax.lax, "switch", lambda *args: branches.append(1) or switch(*args))
    got = results(True, feed)
    assert branches
    np.testing.assert_array_equal(got[0], wanted[0])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, got[1:], wanted[1:])


@pytest.mark.parametrize("feed", ["gumbel", "softmax_mixture", "top_k_mixture", "uniform"])
def test_other_feeds_see_all_rows(feed, monkeypatch):
    monkeypatch.setattr(some_rows, "WORTH", {"cpu": 0})
    monkeypatch.setattr(jax.lax, "switch", None)
    results(True, feed)
