import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.attention.normalizers import NORMALIZERS
from tests import reference
from tests import reference_normalizers as papers
from tests.small import ROUNDING

LENGTHS = np.array([6, 1, 3, 0])
VALID = jnp.asarray(np.arange(6) < LENGTHS[:, None])
# Multiples of 1/64, so that a constant can be added without rounding.
SCORE = jnp.asarray(np.round(64 * np.random.default_rng(0).standard_normal((4, 6))) / 64, "float32")
WEIGHT = np.random.default_rng(1).standard_normal(SCORE.shape)

SMOOTH = [name for name in NORMALIZERS if name not in ("hard", "gumbel")]
# In evaluation, and where it differs in training.
MODES = [(name, None) for name in NORMALIZERS] + [("gumbel", 0)]
each = pytest.mark.parametrize(("name", "seed"), MODES)


@functools.cache
def parts(name):
    return nnx.split(NORMALIZERS[name](key=jax.random.key(0)), nnx.Param)


# What is compiled captures no array: float64 and float32 take turns here.
@functools.cache
def _compiled(name):
    graphdef, _ = parts(name)

    def value(params, score_BS, valid_BS, key):
        return nnx.merge(graphdef, params)(score_BS, valid_BS, key)

    def loss(params, score_BS, valid_BS, key, weight_BS):
        return jnp.sum(value(params, score_BS, valid_BS, key) * weight_BS)

    return jax.jit(value), jax.jit(jax.grad(loss, argnums=1))


def key(seed):
    return None if seed is None else jax.random.key(seed)


def align(name, score_BS, valid_BS=VALID, seed=None):
    return _compiled(name)[0](parts(name)[1], score_BS, valid_BS, key(seed))


def gradient(name, score_BS, valid_BS=VALID, seed=None):
    weight_BS = jnp.asarray(WEIGHT, jnp.promote_types(score_BS.dtype, jnp.float32))
    grad = _compiled(name)[1]
    return np.array(grad(parts(name)[1], score_BS, valid_BS, key(seed), weight_BS))


def loss_of(function):
    """What `gradient` is the gradient of, from the formula of one row."""
    return lambda arrays: np.sum(papers.by_rows(LENGTHS, function, arrays["score"]) * WEIGHT)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_alignments_are_the_papers(name):
    want = papers.by_rows(LENGTHS, papers.NORMALIZERS[name], np.float64(SCORE))
    np.testing.assert_allclose(align(name, SCORE), want, **ROUNDING)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_the_slopes_of_the_papers(name):
    score_BS = np.float64(SCORE)
    with jax.enable_x64(True):
        got = {"score": gradient(name, jnp.asarray(score_BS))}
    assert got["score"].dtype == np.float64
    loss = loss_of(papers.NORMALIZERS[name])
    reference.check_gradient(got, loss, {"score": score_BS}, rtol=1e-7, atol=1e-8)


@each
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_rows_sum_to_1_and_padding_gets_exactly_0(name, seed, scale):
    alignment_BS = np.array(align(name, SCORE * scale, seed=seed))
    assert alignment_BS.dtype == np.float32
    assert (alignment_BS >= 0).all()
    np.testing.assert_array_equal(alignment_BS[~np.array(VALID)], 0.0)
    np.testing.assert_allclose(alignment_BS.sum(axis=1)[:3], 1.0, atol=1e-6)


@each
@pytest.mark.parametrize("junk", [0.0, 1e30, -1e30])
def test_what_stands_in_padding_does_not_matter(name, seed, junk):
    filled = jnp.where(VALID, SCORE, junk)
    for function in (align, gradient):
        got, want = function(name, filled, seed=seed), function(name, SCORE, seed=seed)
        np.testing.assert_array_equal(got, want)


@each
def test_more_padding_behind_changes_nothing(name, seed):
    wide = jnp.pad(SCORE, ((0, 0), (0, 5)), constant_values=9.0)
    got = align(name, wide, jnp.pad(VALID, ((0, 0), (0, 5))), seed)
    np.testing.assert_array_equal(got[:, 6:], 0.0)
    np.testing.assert_allclose(got[:, :6], align(name, SCORE, seed=seed), atol=2e-7)


@each
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_gradients_are_finite_and_none_reaches_padding(name, seed, scale):
    gradient_BS = gradient(name, SCORE * scale, seed=seed)
    assert np.isfinite(gradient_BS).all()
    np.testing.assert_array_equal(gradient_BS[~np.array(VALID)], 0.0)
    if scale == 1.0:
        assert (gradient_BS[0] != 0).any()


@each
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_equal_scores_share_equally_or_the_first_gets_all(name, seed, value):
    got = np.array(align(name, jnp.full_like(SCORE, value), seed=seed))
    if seed is not None:
        np.testing.assert_array_equal(np.sort(got[:3], axis=1)[:, -2:], [[0, 1]] * 3)
    elif name in SMOOTH:
        want = np.array(VALID) / np.maximum(LENGTHS, 1)[:, None]
        np.testing.assert_allclose(got, want, atol=1e-7)
    else:
        np.testing.assert_array_equal(got, np.eye(6)[[0, 0, 0, 0]] * np.array(VALID))


@each
def test_a_constant_added_to_the_scores_changes_nothing(name, seed):
    same = np.allclose(
        align(name, SCORE + 100, seed=seed), align(name, SCORE, seed=seed), atol=2e-7
    )
    assert same == (name != "sigmoid")


@each
def test_a_row_of_padding_alone_is_zeros(name, seed):
    nothing = jnp.zeros_like(VALID)
    np.testing.assert_array_equal(align(name, SCORE, nothing, seed), 0.0)
    np.testing.assert_array_equal(gradient(name, SCORE, nothing, seed), 0.0)


@each
def test_low_precision_scores_are_normalised_in_float32(name, seed):
    low = jnp.asarray(SCORE, jnp.bfloat16)
    got = align(name, low, seed=seed)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, align(name, low.astype(jnp.float32), seed=seed))


@each
def test_heads_steps_and_recomputation_change_no_gradient(name, seed):
    """As attention uses them: a vmap over two heads in a checkpointed scan over three steps."""
    graphdef, params = parts(name)
    factor_TN = jnp.asarray([[1.0, 0.5], [2.0, 1.5], [0.3, 0.7]])
    weight_BS = jnp.asarray(WEIGHT, jnp.float32)

    def term(params, score_BS, factor):
        alignment_BS = nnx.merge(graphdef, params)(score_BS * factor, VALID, key(seed))
        return jnp.sum(alignment_BS * weight_BS)

    def scanned(params, score_BS):
        def step(total, factor_N):
            heads = jax.vmap(term, in_axes=(None, None, 0))(params, score_BS, factor_N)
            return total + heads.sum(), None

        return jax.lax.scan(jax.checkpoint(step), jnp.zeros(()), factor_TN)[0]

    one = jax.jit(jax.value_and_grad(term, argnums=(0, 1)))
    terms = [one(params, SCORE, factor) for factor in factor_TN.ravel()]
    got = jax.jit(jax.value_and_grad(scanned, argnums=(0, 1)))(params, SCORE)
    want = jax.tree.map(lambda *leaves: sum(leaves), *terms)
    jax.tree.map(functools.partial(np.testing.assert_allclose, **ROUNDING), got, want)


def test_entmax_learns_its_alpha():
    graphdef, params = parts("entmax")

    @jax.jit
    def value_and_gradient(params, score_BS, weight_BS):
        def loss(params):
            alignment_BS = nnx.merge(graphdef, params)(score_BS, VALID)
            return jnp.sum(alignment_BS * weight_BS), alignment_BS

        return jax.grad(loss, has_aux=True)(params)

    def formula(arrays):
        alpha = 1 + reference.sigmoid(arrays["logit"])
        return loss_of(lambda row: papers.entmax(row, alpha))({"score": np.float64(SCORE)})

    for logit in (-2.0, 0.0, 3.0):
        params = jax.tree.map(lambda x, logit=logit: jnp.full_like(x, logit), params)
        got, _ = value_and_gradient(params, SCORE, jnp.asarray(WEIGHT, jnp.float32))
        got = {"logit": np.float64(got["logit"][...])}
        reference.check_gradient(got, formula, {"logit": np.array(logit)}, **ROUNDING)

    # Far out, where alpha - 1 rounds to 0 or to 1, it is softmax or sparsemax, and still finite.
    for logit, name in ((-200.0, "softmax"), (-20.0, "softmax"), (200.0, "sparsemax")):
        params = jax.tree.map(lambda x, logit=logit: jnp.full_like(x, logit), params)
        got, alignment_BS = value_and_gradient(params, SCORE, jnp.asarray(WEIGHT, jnp.float32))
        np.testing.assert_allclose(got["logit"][...], 0.0, atol=1e-6)
        np.testing.assert_allclose(alignment_BS, align(name, SCORE), **ROUNDING)


def test_hard_passes_the_gradient_of_softmax():
    alignment_BS = np.array(align("hard", SCORE))
    assert set(alignment_BS.ravel()) == {0.0, 1.0}
    np.testing.assert_array_equal(gradient("hard", SCORE), gradient("softmax", SCORE))


def test_gumbel_passes_the_gradient_of_softmax_with_its_noise():
    # Drawn positions first, see test_more_padding_behind_changes_nothing.
    noise_BS = jax.random.gumbel(key(3), (6, 4)).T
    np.testing.assert_array_equal(align("gumbel", SCORE, seed=3), align("hard", SCORE + noise_BS))
    want = gradient("softmax", SCORE + noise_BS)
    np.testing.assert_allclose(gradient("gumbel", SCORE, seed=3), want, **ROUNDING)


def test_gumbel_draws_as_often_as_softmax_says():
    draws = 20_000
    score_BS = jnp.tile(SCORE[:1], (draws, 1))
    valid_BS = jnp.tile(jnp.arange(6) < 5, (draws, 1))
    alignment_BS = np.array(align("gumbel", score_BS, valid_BS, seed=5))
    assert set(alignment_BS.ravel()) == {0.0, 1.0}
    want_S = reference.softmax(np.float64(SCORE[0, :5]))
    # Four standard deviations of a binomial count: one seed in some thousands would fail.
    bound_S = 4 * np.sqrt(draws * want_S * (1 - want_S))
    assert (np.abs(alignment_BS.sum(axis=0)[:5] - draws * want_S) <= bound_S).all()
    # Neighbouring rows draw on their own: they agree as often as two independent draws.
    agreed = np.sum(alignment_BS[::2] * alignment_BS[1::2])
    p = np.sum(want_S**2)
    assert abs(agreed - draws / 2 * p) <= 4 * np.sqrt(draws / 2 * p * (1 - p))


def test_only_gumbel_hears_the_key():
    for name in NORMALIZERS:
        same = all(np.array_equal(align(name, SCORE, seed=s), align(name, SCORE)) for s in range(4))
        assert same == (name != "gumbel")
