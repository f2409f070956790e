"""Sparse relatives of softmax: alignments in which most positions get exactly 0.

alpha-entmax (Peters et al. 2019, section 3): p_s = [(alpha - 1) e_s - tau]_+ ^ (1 / (alpha - 1)),
with the one tau that makes the sum 1. alpha -> 1 is softmax, alpha = 2 sparsemax.

All functions take scores and which of them are real, compute in float32 (float64 stays float64),
give padding exactly 0 and a row of padding alone zeros with zero gradients. Derivatives are the
formulas of the papers, by `custom_jvp`: exact, and nothing of the search for tau is kept for them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def widened(x: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """In float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def sparsemax(score: Float[Array, "*N S"], valid: Bool[Array, "*N S"]) -> Float[Array, "*N S"]:
    """p_s = [e_s - tau]_+, the nearest point of the simplex (Martins & Astudillo 2016, eq. 2-3).

    Exact, by sorting (their algorithm 1).
    """
    return _sparsemax(widened(score), valid)


def entmax15(score: Float[Array, "*N S"], valid: Bool[Array, "*N S"]) -> Float[Array, "*N S"]:
    """p_s = [e_s / 2 - tau]_+ ^ 2 (Peters et al. 2019, algorithm 2). Exact, by sorting."""
    return _entmax15(widened(score), valid)


def entmax(
    score: Float[Array, "*N S"], valid: Bool[Array, "*N S"], alpha: Float[Array, ""]
) -> Float[Array, "*N S"]:
    """alpha-entmax for one alpha in [1, 2] (Correia et al. 2019), by bisection.

    Differentiable in the scores and in alpha. The smallest number above 1 stands for alpha = 1.
    """
    score = widened(score)
    return _entmax(score, valid, alpha.astype(score.dtype))


def _scaled(score, valid, scale):
    """scale (e_s - max e), cut off at -1.

    The best position stands at 0, so tau is in [-1, 0] and what is at -1 or below gets nothing:
    the cut changes no result, it is the place for padding, and it keeps sums of huge scores exact.
    """
    lowest = jnp.finfo(score.dtype).min
    top = jnp.max(score, axis=-1, keepdims=True, where=valid, initial=lowest)
    return jnp.where(valid, jnp.maximum(scale * (score - top), -1), -1)


def _divided(weight, total):
    """weight / total, and 0 in rows where nothing has weight."""
    return weight / jnp.where(total == 0, 1, total)


def _renormalized(weight, valid):
    weight = jnp.where(valid, weight, 0)
    return _divided(weight, jnp.sum(weight, axis=-1, keepdims=True))


def _sorted_sums(z):
    """(z in descending order, rank from 1, running sum)."""
    z = jnp.sort(z, axis=-1, descending=True)
    rank = jax.lax.broadcasted_iota(z.dtype, z.shape, z.ndim - 1) + 1
    return z, rank, jnp.cumsum(z, axis=-1)


def _score_tangent(slope, tangent):
    """The Jacobian diag(s) - s s^T / sum(s) times a tangent, s = p^(2 - alpha) on
    the support and 0 off it (Peters et al. 2019)."""
    total = jnp.sum(slope, axis=-1, keepdims=True)
    return slope * (tangent - _divided(jnp.sum(slope * tangent, axis=-1, keepdims=True), total))


@jax.custom_jvp
def _sparsemax(score, valid):
    z = _scaled(score, valid, 1.0)
    _, rank, total = _sorted_sums(z)
    # The k best alone would have the threshold (their sum - 1) / k. It grows with k as long as the
    # k-th is above it, and falls from there on: the true one is the greatest.
    tau = jnp.max((total - 1) / rank, axis=-1, keepdims=True)
    return _renormalized(jnp.maximum(z - tau, 0), valid)


@_sparsemax.defjvp
def _sparsemax_jvp(primals, tangents):
    alignment = _sparsemax(*primals)
    return alignment, _score_tangent(jnp.sign(alignment), tangents[0])


@jax.custom_jvp
def _entmax15(score, valid):
    z = _scaled(score, valid, 0.5)
    ordered, rank, total = _sorted_sums(z)
    mean = total / rank
    # The threshold of the k best alone: the lesser root of sum of (z - tau)^2 = 1.
    scatter = jnp.cumsum(ordered**2, axis=-1) - total * mean
    taus = mean - jnp.sqrt(jnp.maximum((1 - scatter) / rank, 0))
    # It grows with k as long as the k-th is above it; what comes after does not count.
    tau = jnp.max(taus, axis=-1, keepdims=True, where=taus <= ordered, initial=-1)
    return _renormalized(jnp.maximum(z - tau, 0) ** 2, valid)


@_entmax15.defjvp
def _entmax15_jvp(primals, tangents):
    alignment = _entmax15(*primals)
    return alignment, _score_tangent(jnp.sqrt(alignment), tangents[0])


def _excess(alpha):
    """alpha - 1, kept above 0."""
    return jnp.maximum(alpha - 1, jnp.finfo(alpha.dtype).eps)


@jax.custom_jvp
def _entmax(score, valid, alpha):
    """Searches for log p of the best position, which is at 0 after scaling, so -tau is p^(alpha-1).

    That is p_s = p (1 + z_s / p^(alpha-1))^(1 / (alpha-1)): with `log1p` it is accurate near
    alpha = 1, where a root of a number near 1 would lose all digits.
    """
    excess = _excess(alpha)
    z = _scaled(score, valid, excess)

    def relative(log_best):
        """p_s / p"""
        inside = jnp.maximum(z * jnp.exp(-excess * log_best), -1)
        return jnp.where(valid, jnp.exp(jnp.log1p(inside) / excess), 0)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        total = jnp.exp(middle) * jnp.sum(relative(middle), axis=-1, keepdims=True)
        return jnp.where(total < 1, middle, low), jnp.where(total < 1, high, middle)

    # The best of n has 1 / n at least and 1 at most.
    count = jnp.sum(valid, axis=-1, keepdims=True, dtype=score.dtype)
    bounds = -jnp.log(jnp.maximum(count, 1)), jnp.zeros_like(count)
    rounds = jnp.finfo(score.dtype).nmant + 4  # a binary digit each, log n needs a few more
    low, high = jax.lax.fori_loop(0, rounds, halve, bounds)
    return _renormalized(relative((low + high) / 2), valid)


@_entmax.defjvp
def _entmax_jvp(primals, tangents):
    """In alpha: Correia et al. (2019), proposition 1, with a = alpha - 1 and its terms gathered.

    With h = -p log p and t = (p^(1-a) - p - a h) / a^2, their difference of two terms that grow
    like 1 / a^2 is ((p + a h) sum(t) - t (1 + a sum(h))) / (1 + a sum(h) + a^2 sum(t)), in which
    nothing grows.
    """
    score, valid, alpha = primals
    score_tangent, _, alpha_tangent = tangents
    alignment = _entmax(score, valid, alpha)
    excess = _excess(alpha)
    support = alignment > jnp.finfo(alignment.dtype).tiny
    log = jnp.log(jnp.where(support, alignment, 1))
    slope = jnp.where(support, jnp.exp((1 - excess) * log), 0)

    h = -alignment * log
    t = alignment * (jnp.expm1(-excess * log) + excess * log) / excess**2
    h_sum = jnp.sum(h, axis=-1, keepdims=True)
    t_sum = jnp.sum(t, axis=-1, keepdims=True)
    by_alpha = (alignment + excess * h) * t_sum - t * (1 + excess * h_sum)
    by_alpha = by_alpha / (1 + excess * h_sum + excess**2 * t_sum)
    return alignment, _score_tangent(slope, score_tangent) + by_alpha * alpha_tangent
