"""How a model attends, without gold links: entropy, coverage, monotonicity, weight on padding."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import entr
from jaxtyping import Array, Bool, Float, Int

from seq2seq_jax.evaluation.alignment import by_head
from seq2seq_jax.types import PAD

# Expected positions are float32 sums over up to some thousand source positions: a step backwards
# by less than this is rounding.
SLACK = 1e-3  # source positions


class AlignmentSums(NamedTuple):
    """Sums over the real target positions of a batch, one a head, and what they are divided by.

    entropy_N: nats. covered_N: source positions, each counted up to 1. forward_N: moves that do not
    go backwards, of moves_N. padding_N: weight on padding. tokens: real target positions.
    positions: real source positions.
    """

    entropy_N: Float[Array, " N"]
    covered_N: Float[Array, " N"]
    forward_N: Float[Array, " N"]
    moves_N: Float[Array, " N"]
    padding_N: Float[Array, " N"]
    tokens: Float[Array, ""]
    positions: Float[Array, ""]


def alignment_sums(
    alignment_BTNS: Float[Array, "B T N S"],
    valid_BS: Bool[Array, "B S"],
    target_BT: Int[Array, "B T"],
) -> AlignmentSums:
    """The sums that `diagnostics` divides.

    entropy   sum over t, s of -a_t(s) log a_t(s), with 0 log 0 = 0
    covered   sum over s of min(1, sum over t of a_t(s))
    forward   number of t with p_t >= p_{t-1}, where p_t = sum_s a_t(s) s / sum_s a_t(s) is the
              expected source position; a move from or to a step without any weight is no move

    End tokens are real positions. Rows that only fill up the batch (all PAD) add nothing.
    """
    alignment_BTNS = alignment_BTNS.astype(jnp.float32)
    token_BT = target_BT != PAD
    token_BT11, valid_B11S = token_BT[:, :, None, None], valid_BS[:, None, None, :]
    real_BTNS = jnp.where(token_BT11 & valid_B11S, alignment_BTNS, 0.0)
    padding_BTNS = jnp.where(token_BT11 & ~valid_B11S, alignment_BTNS, 0.0)

    weight_BTN = real_BTNS.sum(axis=3)
    # No matrix product: on some devices it would round the positions to a few digits.
    place_S = jnp.arange(valid_BS.shape[1], dtype=jnp.float32)
    moment_BTN = (real_BTNS * place_S[None, None, None]).sum(axis=3)
    expected_BTN = moment_BTN / jnp.where(weight_BTN > 0, weight_BTN, 1.0)
    move_BTN = (weight_BTN[:, 1:] > 0) & (weight_BTN[:, :-1] > 0)
    forward_BTN = move_BTN & (expected_BTN[:, 1:] >= expected_BTN[:, :-1] - SLACK)
    return AlignmentSums(
        entropy_N=entr(real_BTNS).sum(axis=(0, 1, 3)),
        covered_N=jnp.minimum(real_BTNS.sum(axis=1), 1.0).sum(axis=(0, 2)),
        forward_N=forward_BTN.sum(axis=(0, 1), dtype=jnp.float32),
        moves_N=move_BTN.sum(axis=(0, 1), dtype=jnp.float32),
        padding_N=jnp.abs(padding_BTNS).sum(axis=(0, 1, 3)),
        tokens=token_BT.sum(dtype=jnp.float32),
        positions=valid_BS.sum(dtype=jnp.float32),
    )


def diagnostics(sums: AlignmentSums) -> dict[str, float]:
    """The mean over heads of each number and, with several heads, each head's own ("/head0").

    alignment_entropy       nats a target token: 0 looks at one place, log S at all alike
    alignment_coverage      share of the source that was looked at, from 0 to 1
    alignment_monotonicity  share of moves that do not go backwards; missing where a head made none
    padding_weight          weight on padding a target token; anything but 0 is a bug
    """
    metrics: dict[str, float] = {}
    for name, part_N, count in (
        ("alignment_entropy", sums.entropy_N, sums.tokens),
        ("alignment_coverage", sums.covered_N, sums.positions),
        ("alignment_monotonicity", sums.forward_N, sums.moves_N),
        ("padding_weight", sums.padding_N, sums.tokens),
    ):
        if np.all(np.asarray(count) > 0):
            heads_N = np.asarray(part_N, np.float64) / np.asarray(count, np.float64)
            metrics |= by_head(name, float(heads_N.mean()), heads_N.tolist())
    return metrics
