"""Normalisers: from scores to an alignment, zero on padding.

To add one: a function `(score_BS, valid_BS) -> alignment_BS` here and its name in NORMALIZERS.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def softmax(score_BS: Float[Array, "B S"], valid_BS: Bool[Array, "B S"]) -> Float[Array, "B S"]:
    """exp(e_s) / sum over valid s' of exp(e_s') (Bahdanau et al. 2015, eq. 6), in float32.

    Padding gets exactly 0. A row of padding alone gives zeros, with zero gradients: minus infinity
    in place of `where` would give NaN there, a large negative number would attend to padding.
    """
    return jax.nn.softmax(score_BS.astype(jnp.float32), axis=-1, where=valid_BS)


NORMALIZERS = {"softmax": softmax}
