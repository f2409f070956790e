import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seq2seq_jax.models.layers import (
    Embedding,
    Linear,
    Noise,
    argmax,
    drop,
    made_apart,
    product,
    sigmoid,
    tanh,
)
from tests.small import ROUNDING

KEY = jax.random.key(3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_sum_in_float32(dtype):
    # bfloat16 has no 257: a sum in it would stop at 256.
    y = product(jnp.ones((2, 300)), jnp.ones((300, 1)), dtype)
    assert y.dtype == jnp.float32
    np.testing.assert_array_equal(y, 300.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_of_a_product(dtype):
    """The slope times the other operand: of both what is left of them in `dtype`."""
    keys = jax.random.split(KEY, 3)
    x, kernel, slope = map(jax.random.normal, keys, ((2, 5, 8), (8, 3), (2, 5, 3)))
    found, pull = jax.vjp(lambda *both: product(*both, dtype), x, kernel)
    x, kernel, rough = (np.float64(array.astype(dtype)) for array in (x, kernel, slope))
    np.testing.assert_allclose(found, x @ kernel, rtol=1e-5, atol=1e-5)
    wanted = rough @ kernel.T, np.einsum("btd,btf->df", x, rough)
    for one, other in zip(pull(slope), wanted, strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_gradient_made_apart_comes_out_as_it_is_written():
    """So that the narrower side of a product stays the first one."""
    x, slope = (jax.random.normal(KEY, (2, 5, width)) for width in (8, 3))

    @jax.jit
    @jax.grad
    def gradient(kernel, x, slope):
        return jnp.sum(product(x, made_apart(kernel.T).T, "float32") * slope)

    arguments = jnp.ones((8, 3)), x, slope
    expected = np.einsum("btd,btf->df", x, slope)
    np.testing.assert_allclose(gradient(*arguments), expected, **ROUNDING)
    program = gradient.lower(*arguments).compile().as_text()
    assert re.findall(r"f32\[(\d+),(\d+)\]\S* dot\(", program) == [("3", "8")]


def test_argmax_is_that_of_numpy_the_first_of_equals_too():
    x = np.random.default_rng(0).integers(0, 4, (5, 20, 7)).astype(np.float32)
    x[0, 0] = -np.inf
    np.testing.assert_array_equal(argmax(jnp.array(x)), x.argmax(axis=-1))


def test_argmax_of_a_row_with_nan_is_an_index():
    assert argmax(jnp.array([[0.0, jnp.nan, 1.0]])).tolist() == [2]


@pytest.mark.parametrize(
    ("function", "value", "slope"),
    [
        (sigmoid, lambda x: 1 / (1 + np.exp(-x)), lambda x: 0.25 / np.cosh(x / 2) ** 2),
        (tanh, np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    ],
)
def test_activations_and_their_slopes(function, value, slope):
    x = np.array([-90.0, -7.0, -1.0, -1e-3, 0.0, 0.3, 2.0, 6.0, 90.0])
    y, back = jax.vjp(function, jnp.float32(x))
    np.testing.assert_allclose(y, value(x), rtol=1e-6, atol=1e-38)
    # Near 1 the slope is as small as 1 - y, and XLA's y is off by up to three units of 2^-24.
    slopes = back(jnp.full(x.shape, 2.0))[0]
    np.testing.assert_allclose(slopes, 2 * slope(x), rtol=1e-5, atol=4 * 3 * 2**-24)


def test_linear_is_an_affine_map_and_may_have_no_bias():
    layer = Linear(3, 2, key=KEY, dtype="float32")
    layer.bias[...] = jnp.array([1.0, -2.0])
    x = jnp.array([[0.5, -1.0, 2.0]])
    expected = np.array(x) @ np.array(layer.kernel[...]) + [1.0, -2.0]
    np.testing.assert_allclose(layer(x), expected, **ROUNDING)
    assert Linear(3, 2, key=KEY, dtype="float32", bias=False).bias is None


def test_a_tied_embedding_scores_by_scaled_inner_products_with_its_rows():
    embedding = Embedding(7, 4, key=KEY, dtype="float32")
    table = np.array(embedding.table[...])
    np.testing.assert_array_equal(embedding(jnp.array([[2, 6]])), table[[[2, 6]]])
    x = jnp.arange(4.0)
    np.testing.assert_allclose(x @ embedding.kernel(), table @ x / np.sqrt(4), **ROUNDING)


def test_initial_scales():
    """Glorot: variance 2 / (in + out); embedding: 1; each within five standard errors."""
    kernel = np.array(Linear(200, 300, key=KEY, dtype="float32").kernel[...])
    assert abs(kernel).max() <= np.sqrt(6 / 500)
    np.testing.assert_allclose(kernel.var(), 2 / 500, rtol=5 * np.sqrt(0.8 / kernel.size))
    table = np.array(Embedding(500, 50, key=KEY, dtype="float32").table[...])
    np.testing.assert_allclose(table.var(), 1, rtol=5 * np.sqrt(2 / table.size))


def test_dropout_of_rate_0_changes_nothing():
    x = jax.random.normal(KEY, (4, 5, 6))
    np.testing.assert_array_equal(drop(x, jnp.float32(0.0), KEY), x)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_expectation(rate):
    y = np.array(drop(jnp.ones((100, 400)), jnp.float32(rate), KEY))
    np.testing.assert_allclose(np.unique(y), [0.0, 1 / (1 - rate)], rtol=1e-6)
    five_errors = 5 * np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) < five_errors
    assert abs(y.mean() - 1) < five_errors / (1 - rate)


def test_over_time_one_mask_serves_all_positions_of_an_example():
    y = np.array(drop(jnp.ones((20, 7, 30)), jnp.float32(0.5), KEY, over_time=True))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    # Still one draw for each example and unit.
    assert len(np.unique(y[:, 0], axis=0)) == 20
    assert len(np.unique(y[:, 0], axis=1).T) > 20
    free = np.array(drop(jnp.ones((20, 7, 30)), jnp.float32(0.5), KEY))
    assert (free != free[:, :1]).any()


def test_noise_differs_between_parts_and_positions():
    noise = Noise(KEY, jnp.float32(0.1), jnp.float32(0.2))
    parts = [noise.at("a"), noise.at("b"), noise.at(jnp.int32(0)), noise.at(jnp.int32(1))]
    keys = {tuple(np.array(jax.random.key_data(part.key))) for part in [noise, *parts]}
    assert len(keys) == 5
    assert all(part[1:] == noise[1:] for part in parts)
