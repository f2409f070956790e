import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seq2seq_jax.training.losses import cross_entropy
from tests import reference
from tests.small import rows

LOGITS = jnp.asarray(3 * np.random.default_rng(0).standard_normal((3, 5, 7)), jnp.float32)
TARGET = jnp.asarray(rows((5, 2, 0), 5, 7))
REAL = [(b, t) for b in range(3) for t in range(5) if TARGET[b, t]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_sums_are_those_of_the_paper(smoothing):
    sums = cross_entropy(LOGITS, TARGET, smoothing)

    def total(smoothing):
        logits = np.float64(LOGITS)
        gold = np.array(TARGET)
        each = (reference.smoothed_cross_entropy(logits[at], gold[at], smoothing) for at in REAL)
        return sum(each)

    np.testing.assert_allclose(sums.objective, total(smoothing), rtol=1e-6)
    np.testing.assert_allclose(sums.loss, total(0.0), rtol=1e-6)  # never smoothed
    assert sums.tokens == 7
    assert sums.correct == sum(np.argmax(LOGITS[at]) == TARGET[at] for at in REAL)


def test_gradient_is_probability_minus_smoothed_target():
    gradient = np.array(jax.grad(lambda x: cross_entropy(x, TARGET, 0.1).objective)(LOGITS))
    for b in range(3):
        for t in range(5):
            if (b, t) in REAL:
                want = np.exp(reference.log_softmax(np.float64(LOGITS[b, t]))) - 0.1 / 7
                want[TARGET[b, t]] -= 0.9
            else:
                want = np.zeros(7)
            np.testing.assert_allclose(gradient[b, t], want, rtol=1e-5, atol=1e-6)


def test_correct_counts_the_likeliest_token_at_real_positions():
    right = 10 * jax.nn.one_hot(TARGET, 7)
    assert cross_entropy(right, TARGET).correct == 7
    assert cross_entropy(-right, TARGET).correct == 0


def test_large_logits_overflow_nothing():
    sums = cross_entropy(1e4 * LOGITS, TARGET, 0.1)
    assert np.isfinite(jnp.stack(sums)).all()
