"""Memory terms: what attention did before, added to the keys of any score that has keys.

    score(h_t, k_s + U f_s)

With the score concat, v^T tanh(W_h h_t + W_m m_s + U f_s), these are location-sensitive attention
(Chorowski et al. 2015) and attention with coverage (Tu et al. 2016; See et al. 2017), without the
bias inside the tanh that the first and the last have.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from seq2seq_jax.models.attention.scores import AttentionState
from seq2seq_jax.models.layers import Linear, product
from seq2seq_jax.rng import named


class LocationTerm(nnx.Module):
    """f = F * alignment_{t-1}, a convolution over the source (Chorowski et al. 2015, eq. 8-9).

    F has `config.location_filters` filters, each over `config.location_width` positions; beyond
    the ends the alignment is zero, as it is on padding.
    """

    def __init__(self, config, width: int, *, key: Key[Array, ""], dtype: str):
        filters, reach = config.location_filters, config.location_width
        init = jax.nn.initializers.glorot_uniform()
        self.filters = nnx.Param(init(named(key, "filters"), (reach, filters)))
        self.key = Linear(filters, width, key=named(key, "key"), dtype=dtype, bias=False)
        self.dtype = dtype

    def __call__(self, state: AttentionState) -> Float[Array, "B S A"]:
        reach = self.filters.shape[0]
        before = (reach - 1) // 2
        alignment_BS = state.alignment_BNS
        padded_BP = jnp.pad(alignment_BS, ((0, 0), (before, reach - 1 - before)))
        positions = alignment_BS.shape[1]
        shifted_BSR = jnp.stack([padded_BP[:, r : r + positions] for r in range(reach)], axis=-1)
        return self.key(product(shifted_BSR, self.filters[...], self.dtype))


class CoverageTerm(nnx.Module):
    """f_s = sum of the alignments of all steps so far (See et al. 2017, eq. 10-11).

    Tu et al.'s (2016) linguistic coverage with a fertility of 1.
    """

    def __init__(self, config, width: int, *, key: Key[Array, ""], dtype: str):
        self.key = Linear(1, width, key=named(key, "key"), dtype=dtype, bias=False)

    def __call__(self, state: AttentionState) -> Float[Array, "B S A"]:
        assert state.coverage_BNS is not None, "Attention.start keeps it for this term"
        return self.key(state.coverage_BNS[..., None])


MEMORY_TERMS = {"location": LocationTerm, "coverage": CoverageTerm}
