"""What hypotheses are ranked by besides their probability, and what they may not repeat."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Ranking(NamedTuple):
    """score = log p / length penalty + coverage penalty; all are traced.

    `alpha`: strength of the length penalty, length^alpha or, where `gnmt`,
    ((5 + length) / 6)^alpha. 0 is no penalty, and 1 without `gnmt` the mean log probability.
    `coverage`: strength of the coverage penalty. `min_length`: tokens before EOS, at least.
    """

    alpha: Float[Array, ""]
    gnmt: Bool[Array, ""]
    coverage: Float[Array, ""]
    min_length: Int[Array, ""]


def length_penalty(ranking: Ranking, length: Int[Array, "*N"]) -> Float[Array, "*N"]:
    """lp(Y) = ((5 + |Y|) / (5 + 1))^alpha (Wu et al. 2016, eq. 14), or |Y|^alpha.

    |Y| counts tokens, the end token too.
    """
    length = length.astype(jnp.float32)
    return jnp.where(ranking.gnmt, (5 + length) / 6, length) ** ranking.alpha


def coverage_penalty(
    ranking: Ranking, coverage_BKS: Float[Array, "B K S"], valid_BS: Bool[Array, "B S"]
) -> Float[Array, "B K"]:
    """cp(X; Y) = beta * sum over s of log(min(sum over t of alignment_ts, 1)) (Wu et al. 2016,
    eq. 14). Never positive."""
    least = jnp.finfo(jnp.float32).tiny  # of a word that was never looked at; its log is -87
    log_BKS = jnp.log(jnp.clip(coverage_BKS, least, 1.0))
    return ranking.coverage * jnp.sum(log_BKS, axis=-1, where=valid_BS[:, None])


def block_ngrams(
    log_p_BKV: Float[Array, "B K V"],
    token_BKT: Int[Array, "B K T"],
    step: Int[Array, ""],
    n: int,
) -> Float[Array, "B K V"]:
    """-inf for each token that would end n tokens which the hypothesis has already (Paulus et al.
    2018, section 2.5). `step` tokens are there so far."""
    positions = token_BKT.shape[2]
    # The n - 1 latest tokens; before there are so many, nothing can be repeated.
    latest = step - (n - 1) + jnp.arange(n - 1)
    latest_BKn = jnp.take(token_BKT, jnp.maximum(latest, 0), axis=2)
    starts = max(positions - n + 1, 0)
    same_BKT = jnp.broadcast_to(jnp.arange(starts) + n - 1 < step, (*token_BKT.shape[:2], starts))
    for i in range(n - 1):
        same_BKT &= token_BKT[:, :, i : i + starts] == latest_BKn[:, :, i : i + 1]
    banned_BKT = jnp.where(same_BKT, token_BKT[:, :, n - 1 :], log_p_BKV.shape[2])

    def ban(log_p_V, banned_T):
        return log_p_V.at[banned_T].set(-jnp.inf, mode="drop")

    return jax.vmap(jax.vmap(ban))(log_p_BKV, banned_BKT)
