"""Attention scores: how well a decoder state (query) fits each source position.

Every score is `prepare(memory_BSM) -> keys`, once a sequence, and
`__call__(query_BH, keys, state) -> score_BS`, each step. No score has a bias, an output activation
or a projection beyond its formula, so that variants differ in the formula alone.

To add one: a class here and its name in SCORES.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from seq2seq_jax.models.layers import Linear, product
from seq2seq_jax.rng import named


class AttentionState(NamedTuple):
    """What a score may know besides the query: the alignment of the step before, and the step."""

    alignment_BS: Float[Array, "B S"]
    step: Int[Array, ""]


class Score(nnx.Module):
    """score(h_t, m_s). `query`: width H of the state; `memory`: M; `width`: A, the score space."""

    def __init__(self, query: int, memory: int, width: int, *, key: Key[Array, ""], dtype: str):
        self.dtype = dtype

    def prepare(self, memory_BSM: Float[Array, "B S M"]) -> Float[Array, "B S A"]:
        """What does not depend on the decoder, computed once a sequence."""
        return memory_BSM

    def __call__(
        self, query_BH: Float[Array, "B H"], keys: Float[Array, "B S A"], state: AttentionState
    ) -> Float[Array, "B S"]:
        raise TypeError(f"{type(self).__name__} is an abstract score")


def _inner(query: Float[Array, "B A"], keys: Float[Array, "B S A"], dtype) -> Float[Array, "B S"]:
    return jnp.einsum(
        "ba,bsa->bs", query.astype(dtype), keys.astype(dtype), preferred_element_type=jnp.float32
    )


class Dot(Score):
    """h_t . m_s (Luong et al. 2015, eq. 8, dot). Projects nothing; needs H = M."""

    def __call__(self, query_BH, keys, state):
        return _inner(query_BH, keys, self.dtype)


class ScaledDot(Score):
    """h_t . m_s / sqrt(H) (Vaswani et al. 2017, eq. 1). Projects nothing; needs H = M."""

    def __call__(self, query_BH, keys, state):
        return _inner(query_BH, keys, self.dtype) * query_BH.shape[-1] ** -0.5


class General(Score):
    """h_t^T W_a m_s (Luong et al. 2015, eq. 8, general)."""

    def __init__(self, query: int, memory: int, width: int, *, key: Key[Array, ""], dtype: str):
        super().__init__(query, memory, width, key=key, dtype=dtype)
        self.memory = Linear(memory, query, key=named(key, "memory"), dtype=dtype, bias=False)

    def prepare(self, memory_BSM):
        return self.memory(memory_BSM)

    def __call__(self, query_BH, keys, state):
        return _inner(query_BH, keys, self.dtype)


class Concat(Score):
    """v^T tanh(W [h_t; m_s]) (Luong et al. 2015, eq. 8, concat).

    W [h; m] = W_h h + W_m m, so one matrix on the joined vectors and Bahdanau et al.'s (2015,
    A.1.2) two matrices are the same function; the two products keep W_m m out of the loop.
    """

    def __init__(self, query: int, memory: int, width: int, *, key: Key[Array, ""], dtype: str):
        super().__init__(query, memory, width, key=key, dtype=dtype)
        self.query = Linear(query, width, key=named(key, "query"), dtype=dtype, bias=False)
        self.memory = Linear(memory, width, key=named(key, "memory"), dtype=dtype, bias=False)
        init = jax.nn.initializers.glorot_uniform()
        self.vector = nnx.Param(init(named(key, "vector"), (width, 1)))

    def prepare(self, memory_BSM):
        return self.memory(memory_BSM)

    def __call__(self, query_BH, keys, state):
        joint_BSA = jnp.tanh(self.query(query_BH)[:, None, :] + keys)
        return product(joint_BSA, self.vector[...], self.dtype)[..., 0]


SCORES = {"dot": Dot, "scaled_dot": ScaledDot, "general": General, "concat": Concat}
