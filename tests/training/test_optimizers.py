"""One to three updates of each optimiser, and whole schedules, against the papers' formulas."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.default import get_config
from seq2seq_jax.config_checks import CHOICES
from seq2seq_jax.training.optimizers import clip_scale, learning_rate_at, make_optimizer


def train_config(**values):
    train = get_config().train
    train.update(values)
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


@pytest.mark.parametrize(("clip_norm", "scale"), [(2.0, 0.4), (5.0, 1.0), (7.0, 1.0), (0.0, 1.0)])
def test_clipping_scales_down_to_a_norm(clip_norm, scale):
    assert float(clip_scale(jnp.float32(5.0), clip_norm)) == pytest.approx(scale, rel=1e-6)


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


@pytest.mark.parametrize("steps", [10, 15, 25, 45, 100])
def test_halvings_do_not_drift_where_a_period_is_no_whole_number_of_updates(steps):
    rate = learning_rate_at(train_config(learning_rate=1.0, schedule="halving"), steps)
    assert rate(steps - 1) == 0.5**5
    halved = [n for n in range(1, steps) if rate(n) < rate(n - 1)]
    assert halved == [math.ceil(steps * tenth / 10) for tenth in (5, 6, 7, 8, 9)]


def test_linear_and_cosine_end_just_above_zero():
    for name in ("linear", "cosine"):
        rate = learning_rate_at(train_config(schedule=name, learning_rate=1.0), N)
        assert 0 < rate(N - 1) < 0.011 and rate(N) == pytest.approx(0, abs=1e-15)


def test_every_name_that_a_config_may_hold_is_known():
    assert set(SCHEDULES) == set(CHOICES["train.schedule"])
    for name in CHOICES["train.optimizer"]:
        make_optimizer(train_config(optimizer=name))
