import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seq2seq_jax.models.attention.normalizers import NORMALIZERS, softmax
from tests import reference
from tests.small import ROUNDING

SCORE = jnp.asarray(3 * np.random.default_rng(0).standard_normal((4, 6)), jnp.float32)
LENGTHS = np.array([6, 1, 3, 0])
VALID = jnp.asarray(np.arange(6) < LENGTHS[:, None])


def test_softmax_is_the_papers():
    alignment_BS = np.array(softmax(SCORE, VALID))
    for row, length in enumerate(LENGTHS):
        want = reference.softmax(np.float64(SCORE[row, :length]))
        np.testing.assert_allclose(alignment_BS[row, :length], want, **ROUNDING)


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_rows_sum_to_1_and_padding_gets_exactly_0(name, scale):
    alignment_BS = np.array(NORMALIZERS[name](SCORE * scale, VALID))
    assert alignment_BS.dtype == np.float32
    assert (alignment_BS >= 0).all()
    np.testing.assert_array_equal(alignment_BS[~np.array(VALID)], 0.0)
    np.testing.assert_allclose(alignment_BS.sum(axis=1)[:3], 1.0, atol=1e-6)


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("junk", [0.0, 1e30, -1e30])
def test_what_stands_in_padding_does_not_matter(name, junk):
    got = NORMALIZERS[name](jnp.where(VALID, SCORE, junk), VALID)
    np.testing.assert_array_equal(got, NORMALIZERS[name](SCORE, VALID))


@pytest.mark.parametrize("name", NORMALIZERS)
def test_gradients_are_finite_and_none_reaches_padding(name):
    weight_BS = np.random.default_rng(1).standard_normal(SCORE.shape)

    def loss(score_BS):
        return jnp.sum(NORMALIZERS[name](score_BS, VALID) * weight_BS)

    gradient_BS = np.array(jax.grad(loss)(SCORE))
    assert np.isfinite(gradient_BS).all()
    np.testing.assert_array_equal(gradient_BS[~np.array(VALID)], 0.0)
    assert (gradient_BS[0] != 0).any()


def test_the_gradient_of_softmax_is_the_papers():
    weight_BS = np.random.default_rng(1).standard_normal(SCORE.shape)
    gradient_BS = jax.grad(lambda s: jnp.sum(softmax(s, VALID) * weight_BS))(SCORE)

    def loss(arrays):
        rows = zip(arrays["score"], weight_BS, LENGTHS, strict=True)
        return sum(reference.softmax(row[:n]) @ weight[:n] for row, weight, n in rows)

    arrays = {"score": np.array(SCORE, np.float64)}
    reference.check_gradient({"score": np.array(gradient_BS)}, loss, arrays, **ROUNDING)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_a_row_of_padding_alone_is_zeros(name):
    valid_BS = jnp.zeros_like(VALID)
    np.testing.assert_array_equal(NORMALIZERS[name](SCORE, valid_BS), 0.0)
    gradient_BS = jax.grad(lambda s: jnp.sum(NORMALIZERS[name](s, valid_BS) ** 2))(SCORE)
    np.testing.assert_array_equal(gradient_BS, 0.0)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_low_precision_scores_are_normalised_in_float32(name):
    low = jnp.asarray(SCORE, jnp.bfloat16)
    got = NORMALIZERS[name](low, VALID)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, NORMALIZERS[name](low.astype(jnp.float32), VALID))
