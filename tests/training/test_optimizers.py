"""One to three updates of each optimiser, and whole schedules, against the papers' formulas."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.default import get_config
from seq2seq_jax.config_checks import CHOICES
from seq2seq_jax.training.optimizers import learning_rate_at, make_optimizer


def train_config(**values):
    train = get_config().train
    train.update({"clip_norm": 0.0} | values)
    return train


def updates(train, gradients, params):
    """params after each gradient, at learning rate 1, from float64 numbers."""
    optimizer = make_optimizer(train)
    tree = {"w": jnp.asarray(params, jnp.float32)}
    state, path = optimizer.init(tree), []
    for gradient in gradients:
        step, state = optimizer.update({"w": jnp.asarray(gradient, jnp.float32)}, state, tree)
        tree = optax.apply_updates(tree, step)
        path.append(np.asarray(tree["w"], np.float64))
    return np.array(path)


@pytest.fixture
def problem():
    generator = np.random.default_rng(0)
    return generator.normal(size=(3, 4)), generator.normal(size=4)


def test_adam_is_algorithm_1_of_kingma_and_ba(problem):
    gradients, w = problem
    got = updates(train_config(optimizer="adam", adam_b1=0.8, adam_b2=0.9), gradients, w)
    m = v = np.zeros(4)
    for t, g in enumerate(gradients, start=1):
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        w = w - (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-8)
        np.testing.assert_allclose(got[t - 1], w, rtol=1e-5)


def test_sgd_keeps_a_velocity(problem):
    gradients, w = problem
    got = updates(train_config(optimizer="sgd", momentum=0.7), gradients, w)
    velocity = np.zeros(4)
    for t, g in enumerate(gradients):
        velocity = 0.7 * velocity + g
        w = w - velocity
        np.testing.assert_allclose(got[t], w, rtol=1e-5)


def test_sgd_without_momentum_is_the_gradient(problem):
    gradients, w = problem
    got = updates(train_config(optimizer="sgd"), gradients, w)
    np.testing.assert_allclose(got, w - np.cumsum(gradients, axis=0), rtol=1e-5)


def test_adadelta_is_algorithm_1_of_zeiler(problem):
    gradients, w = problem
    got = updates(train_config(optimizer="adadelta"), gradients, w)
    rho, epsilon = 0.95, 1e-6
    square = delta_square = np.zeros(4)
    for t, g in enumerate(gradients):
        square = rho * square + (1 - rho) * g**2
        delta = -np.sqrt(delta_square + epsilon) / np.sqrt(square + epsilon) * g
        delta_square = rho * delta_square + (1 - rho) * delta**2
        w = w + delta
        np.testing.assert_allclose(got[t], w, rtol=1e-5)


def test_clipping_scales_the_global_norm_before_the_optimiser():
    train = train_config(optimizer="sgd", clip_norm=2.0)
    optimizer = make_optimizer(train)
    params = {"a": jnp.zeros(2), "b": jnp.zeros(1)}
    long = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}
    step, _ = optimizer.update(long, optimizer.init(params), params)
    np.testing.assert_allclose(step["a"], [-1.2, 0], rtol=1e-6)  # norm 5 becomes norm 2
    np.testing.assert_allclose(step["b"], [-1.6], rtol=1e-6)
    short = {"a": jnp.array([1.0, 0.0]), "b": jnp.array([1.0])}
    step, _ = optimizer.update(short, optimizer.init(params), params)
    np.testing.assert_array_equal(step["b"], [-1.0])


def test_clipping_comes_before_adam():
    """Adam's first update is the sign of the gradient, whatever its norm was clipped to."""
    got = updates(train_config(optimizer="adam", clip_norm=0.5), [[3.0, -4.0]], np.zeros(2))
    # 1 - 0.999 has three digits less in float32.
    np.testing.assert_allclose(got[0], [-1, 1], rtol=1e-4)


def test_weight_decay_is_decoupled(problem):
    gradients, w = problem
    plain = updates(train_config(optimizer="adam"), gradients[:1], w)[0]
    decayed = updates(train_config(optimizer="adam", weight_decay=0.1), gradients[:1], w)[0]
    np.testing.assert_allclose(decayed, plain - 0.1 * w, rtol=1e-5)


N, W, PEAK = 100, 10, 0.4
SCHEDULES = {
    "constant": lambda n: 1,
    "plateau": lambda n: 1,
    "linear": lambda n: 1 - (n - W) / (N - W),
    "cosine": lambda n: (1 + math.cos(math.pi * (n - W) / (N - W))) / 2,
    # Vaswani et al., equation 3, divided by its value at their step W.
    "inverse_sqrt": lambda n: min((n + 1) ** -0.5, (n + 1) * W**-1.5) / W**-0.5,
    "halving": lambda n: 0.5 ** sum(n >= start for start in (50, 60, 70, 80, 90)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    train = train_config(learning_rate=PEAK, schedule=name, warmup_steps=W)
    rate = learning_rate_at(train, N)
    want = [PEAK * (n + 1) / W for n in range(W)] + [PEAK * SCHEDULES[name](n) for n in range(W, N)]
    np.testing.assert_allclose([rate(n) for n in range(N)], want, rtol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_without_warmup_starts_at_the_peak(name):
    rate = learning_rate_at(train_config(learning_rate=PEAK, schedule=name), N)
    assert rate(0) == PEAK


def test_luong_halves_after_five_of_ten_epochs():
    """1000 updates an epoch: the rate of each of the ten epochs, and of its last update."""
    rate = learning_rate_at(train_config(learning_rate=1.0, schedule="halving"), 10_000)
    want = [1, 1, 1, 1, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert [rate(1000 * epoch) for epoch in range(10)] == want
    assert [rate(1000 * epoch + 999) for epoch in range(10)] == want


def test_linear_and_cosine_end_just_above_zero():
    for name in ("linear", "cosine"):
        rate = learning_rate_at(train_config(schedule=name, learning_rate=1.0), N)
        assert 0 < rate(N - 1) < 0.011 and rate(N) == pytest.approx(0, abs=1e-15)


def test_every_name_that_a_config_may_hold_is_known():
    assert set(SCHEDULES) == set(CHOICES["train.schedule"])
    for name in CHOICES["train.optimizer"]:
        make_optimizer(train_config(optimizer=name))
