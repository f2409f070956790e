"""Losses of alignments: their formulas, in NumPy's float64, and what an update makes of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seq2seq_jax.training.losses import coverage_loss, guided_alignment_loss
from seq2seq_jax.training.step import init_state, make_hyper, make_train_step
from seq2seq_jax.types import PAD
from tests.small import (
    cross_entropy,
    flat,
    forward,
    pad,
    small_config,
    small_guided_batch,
    small_model,
)

BATCH = small_guided_batch()
TARGET, GOLD = BATCH.target_BT, BATCH.gold_BTS
ALIGNMENT = np.random.default_rng(0).dirichlet(np.ones(5), (4, 5, 2))  # B T N S


def covered(alignment_BTNS) -> float:
    """See et al. (2017), eq. 10 and 12: of each real token, the mean of the heads."""
    total = 0.0
    for row, alignment_TNS in enumerate(alignment_BTNS):
        coverage_NS = np.zeros(alignment_TNS.shape[1:])
        for t, alignment_NS in enumerate(alignment_TNS):
            if TARGET[row, t] != PAD:
                total += np.minimum(alignment_NS, coverage_NS).sum() / len(alignment_NS)
            coverage_NS += alignment_NS
    return total


def guided(alignment_BTNS) -> float:
    """The cross-entropy of Liu et al. (2016), of each linked token, with the mean of the heads."""
    total = 0.0
    for row, t, s in zip(*np.nonzero(GOLD), strict=True):
        total -= GOLD[row, t, s] * np.log(alignment_BTNS[row, t, :, s].mean())
    return total


LOSSES = {
    "coverage_loss": (lambda a: coverage_loss(a, jnp.asarray(TARGET)), covered),
    "guided_alignment": (lambda a: guided_alignment_loss(a, jnp.asarray(GOLD)), guided),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_sum_is_that_of_the_paper(name):
    found, wanted = LOSSES[name]
    np.testing.assert_allclose(
        found(jnp.asarray(ALIGNMENT, jnp.float32)), wanted(ALIGNMENT), rtol=1e-5
    )


@pytest.mark.parametrize("name", LOSSES)
def test_an_update_adds_its_weight_times_the_gradient(name):
    """The mean over tokens, as of the cross-entropy; padding and filler rows change nothing."""
    config = small_config(**{"attention.heads": 2})
    config.train.clip_norm = 0.0
    config.train[name] = 0.7
    graphdef, params = small_model(**{"attention.heads": 2})
    sgd = optax.scale(-1.0)
    step = jax.jit(functools.partial(make_train_step(config, graphdef, sgd), forced=True))

    def slope(batch):
        batch = jax.tree.map(jnp.asarray, batch)
        key, numbers = jax.random.key(0), make_hyper(config, 1.0, 1.0)
        after = step(init_state(params, sgd, 0.0), batch, numbers, key)
        return {path: flat(params)[path] - value for path, value in flat(after.params).items()}

    def mean(params):
        _, unrolled, logits_BTV = forward(graphdef, params, jax.tree.map(jnp.asarray, BATCH))
        plain = cross_entropy(logits_BTV, jnp.asarray(TARGET)).objective
        return (plain + 0.7 * LOSSES[name][0](unrolled.alignment_BTNS)) / 12

    wanted = flat(jax.jit(jax.grad(mean))(params))
    for batch in (BATCH, pad(BATCH, rows=3, source=2, target=2)):
        for path, found in slope(batch).items():
            np.testing.assert_allclose(found, wanted[path], 1e-5, 2e-6, err_msg=path)


def test_a_weight_of_exactly_0_has_a_finite_loss_and_no_gradient():
    alignment = jnp.asarray(ALIGNMENT, jnp.float32).at[0, 1, :, 3].set(0.0)  # all of its gold
    loss, slope = jax.value_and_grad(LOSSES["guided_alignment"][0])(alignment)
    assert np.isfinite(loss)
    assert not slope[0, 1].any()
    assert slope[0, 2, :, 0:2].all()
