"""Sums over real target tokens; the one division happens where results are reported."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from seq2seq_jax.types import PAD


class TokenSums(NamedTuple):
    """Sums over the real tokens of a batch. Losses in nats."""

    objective: Float[Array, ""]
    loss: Float[Array, ""]
    correct: Float[Array, ""]
    tokens: Float[Array, ""]


def cross_entropy(
    logits_BTV: Float[Array, "B T V"],
    target_BT: Int[Array, "B T"],
    smoothing: Float[Array, ""] | float = 0.0,
) -> TokenSums:
    """Sums of -log p(gold) and of the objective with label smoothing (Szegedy et al. 2016, s. 7).

    objective = (1 - eps) * -log p(gold) + eps / V * sum over v of -log p(v).
    """
    valid_BT = (target_BT != PAD).astype(jnp.float32)
    logits_BTV = logits_BTV.astype(jnp.float32)
    normalizer_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    gold_BT = jnp.take_along_axis(logits_BTV, target_BT[..., None], axis=-1)[..., 0]
    loss_BT = normalizer_BT - gold_BT
    spread_BT = normalizer_BT - logits_BTV.mean(axis=-1)
    objective_BT = (1 - smoothing) * loss_BT + smoothing * spread_BT
    correct_BT = logits_BTV.argmax(axis=-1) == target_BT
    return TokenSums(
        jnp.sum(objective_BT * valid_BT),
        jnp.sum(loss_BT * valid_BT),
        jnp.sum(correct_BT * valid_BT),
        jnp.sum(valid_BT),
    )


def coverage_loss(
    alignment_BTNS: Float[Array, "B T N S"], target_BT: Int[Array, "B T"]
) -> Float[Array, ""]:
    """Sum over real tokens t of sum over s of min(alignment_ts, coverage_ts), the mean of heads.

    coverage_ts sums the alignments of the steps before t (See et al. 2017, eq. 10 and 12).
    """
    before_BTNS = jnp.cumsum(alignment_BTNS, axis=1) - alignment_BTNS
    overlap_BT = jnp.minimum(alignment_BTNS, before_BTNS).sum(axis=-1).mean(axis=-1)
    return jnp.sum(overlap_BT * (target_BT != PAD))
