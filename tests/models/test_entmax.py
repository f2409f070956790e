import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seq2seq_jax.models.attention.entmax import entmax, entmax15, sparsemax
from tests import reference
from tests import reference_normalizers as papers
from tests.small import ROUNDING

LENGTHS = np.array([12, 1, 5, 2, 0])
VALID = np.arange(12) < LENGTHS[:, None]
RNG = np.random.default_rng(0)
# From nearly uniform to nearly one-hot.
SCORE = RNG.standard_normal((5, 12)) * np.array([[1.0], [1.0], [0.1], [0.4], [1.0]])
WEIGHT = RNG.standard_normal((5, 12))
ALPHAS = [1.01, 1.2, 1.5, 1.8, 2.0]
EXACT = {"sparsemax": (sparsemax, papers.sparsemax, 2.0)}
EXACT["entmax15"] = (entmax15, lambda row: papers.entmax(row, 1.5), 1.5)


def run(function, score_BS, *alpha, dtype=np.float64):
    score_BS, *alpha = (jnp.asarray(x, dtype) for x in (score_BS, *alpha))
    alignment_BS = function(score_BS, jnp.asarray(VALID), *alpha)
    assert alignment_BS.dtype == dtype
    return np.array(alignment_BS)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("name", EXACT)
def test_sorting_finds_the_alignment_of_the_papers(name, scale):
    function, paper, _ = EXACT[name]
    low = np.float32(scale * SCORE)
    want = papers.by_rows(LENGTHS, paper, np.float64(low))
    np.testing.assert_allclose(run(function, low, dtype=np.float32), want, **ROUNDING)
    with jax.enable_x64(True):
        np.testing.assert_allclose(run(function, low), want, atol=1e-13)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_bisection_finds_the_alignment_of_the_papers(alpha, scale):
    low, alpha = np.float32(scale * SCORE), np.float32(alpha)
    want = papers.by_rows(LENGTHS, lambda row: papers.entmax(row, float(alpha)), np.float64(low))
    np.testing.assert_allclose(run(entmax, low, alpha, dtype=np.float32), want, **ROUNDING)
    with jax.enable_x64(True):
        np.testing.assert_allclose(run(entmax, low, alpha), want, atol=1e-13)


def test_long_rows_of_close_scores_keep_their_digits():
    """Hundreds of positions share the weight: the sums that the thresholds come from are long."""
    row_S = np.float32(np.random.default_rng(1).standard_normal(400))
    for function, paper, _ in EXACT.values():
        got = function(jnp.asarray(row_S)[None], jnp.ones((1, 400), bool))[0]
        np.testing.assert_allclose(got, paper(np.float64(row_S)), atol=3e-6)
        np.testing.assert_allclose(got.sum(), 1.0, atol=1e-6)


@pytest.mark.parametrize("name", EXACT)
def test_bisection_agrees_with_sorting(name):
    function, _, alpha = EXACT[name]
    with jax.enable_x64(True):
        np.testing.assert_allclose(run(entmax, SCORE, alpha), run(function, SCORE), atol=1e-13)


def test_alpha_towards_1_is_softmax():
    softmax_BS = papers.by_rows(LENGTHS, reference.softmax, SCORE)
    with jax.enable_x64(True):
        errors = [np.abs(run(entmax, SCORE, 1 + a) - softmax_BS).max() for a in (1e-2, 1e-4, 1e-6)]
    # The distance is of first order in alpha - 1.
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 100, rtol=0.05)
    for alpha in (1.0, 1 + 1e-7):
        got = run(entmax, SCORE, alpha, dtype=np.float32)
        np.testing.assert_allclose(got, softmax_BS, **ROUNDING)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("name", EXACT)
def test_the_gradient_of_sorting_is_the_slope_of_the_papers(name, scale):
    function, paper, _ = EXACT[name]
    with jax.enable_x64(True):
        gradient_BS = jax.grad(lambda s: jnp.sum(function(s, jnp.asarray(VALID)) * WEIGHT))(
            jnp.asarray(scale * SCORE)
        )
    reference.check_gradient(
        {"score": np.array(gradient_BS)},
        lambda arrays: np.sum(papers.by_rows(LENGTHS, paper, arrays["score"]) * WEIGHT),
        {"score": scale * SCORE},
        rtol=1e-7,
        atol=1e-8,
    )


@jax.jit
def gradients(score_BS, alpha):
    def loss(score_BS, alpha):
        return jnp.sum(entmax(score_BS, jnp.asarray(VALID), alpha) * WEIGHT)

    return jax.grad(loss, argnums=(0, 1))(score_BS, alpha)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_gradients_in_scores_and_alpha_are_the_slopes_of_the_papers(alpha, scale):
    with jax.enable_x64(True):
        got = gradients(jnp.asarray(scale * SCORE), jnp.asarray(alpha))

    def loss(arrays):
        alignment_BS = papers.by_rows(
            LENGTHS, lambda row: papers.entmax(row, arrays["alpha"]), arrays["score"]
        )
        return np.sum(alignment_BS * WEIGHT)

    arrays = {"score": scale * SCORE, "alpha": np.array(alpha)}
    got = dict(zip(arrays, map(np.array, got), strict=True))
    reference.check_gradient(got, loss, arrays, rtol=1e-7, atol=1e-8)


def test_the_gradient_in_alpha_has_a_limit_at_softmax():
    """Correia et al. (2019), proposition 1, alpha = 1: p (sum of p log^2 p - log^2 p) / 2."""

    def limit(score_S):
        p_S = reference.softmax(score_S)
        return p_S * (p_S @ np.log(p_S) ** 2 - np.log(p_S) ** 2) / 2

    want = np.sum(papers.by_rows(LENGTHS, limit, SCORE) * WEIGHT)
    with jax.enable_x64(True):
        _, got = gradients(jnp.asarray(SCORE), jnp.asarray(1 + 1e-5))
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_forward_mode_agrees_with_reverse_mode():
    direction_BS = np.random.default_rng(2).standard_normal(SCORE.shape)
    with jax.enable_x64(True):
        primals = jnp.asarray(SCORE), jnp.asarray(1.3)
        tangents = jnp.asarray(direction_BS), jnp.asarray(1.0)
        _, tangent_BS = jax.jvp(lambda s, a: entmax(s, jnp.asarray(VALID), a), primals, tangents)
        by_score_BS, by_alpha = map(np.array, gradients(*primals))
    want = np.sum(by_score_BS * direction_BS) + by_alpha
    np.testing.assert_allclose(np.sum(np.array(tangent_BS) * WEIGHT), want, rtol=1e-12)
