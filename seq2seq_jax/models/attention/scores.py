"""Attention scores: how well a decoder state (query) fits each source position.

Every score is `prepare(memory_BSM) -> keys_BSA`, once a sequence, and
`__call__(query_BH, keys_BSA, state) -> score_BS`, each step. No score has a bias, an output
activation or a projection beyond its formula, so that variants differ in the formula alone. A score
is written for one head; `mechanism.py` gives every head its own.

To add one: a class here, its name in SCORES, and in the list of config_checks.py, which knows the
names without importing JAX.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from seq2seq_jax.models.layers import Linear, contract, product
from seq2seq_jax.rng import named


class AttentionState(NamedTuple):
    """What attention remembers from step to step, and the index of the step.

    `alignment` is that of the step before (zeros at first). `coverage` sums all alignments so far
    (memory term `coverage`), `position` is the probability that the reader stands at s (monotonic
    windows); each is None where nothing needs it. With an axis N of heads, except inside a head.
    """

    alignment_BNS: Float[Array, "B *N S"]
    coverage_BNS: Float[Array, "B *N S"] | None
    position_BNS: Float[Array, "B *N S"] | None
    step: Int[Array, ""]


class Score(nnx.Module):
    """score(h_t, m_s). `query`: width H of the state; `memory`: M; `config.width`: A.

    `joint` scores make an S x A array of each query; backward passes compute it anew.
    """

    joint: ClassVar[bool] = False
    sees_memory: ClassVar[bool] = True

    def __init__(self, config, query: int, memory: int, *, key: Key[Array, ""], dtype: str):
        self.dtype = dtype
        self.key_width = memory

    def prepare(self, memory_BSM: Float[Array, "B S M"]) -> Float[Array, "B S A"]:
        """What does not depend on the decoder, computed once a sequence."""
        return memory_BSM

    def __call__(
        self, query_BH: Float[Array, "B H"], keys: Float[Array, "B S A"], state: AttentionState
    ) -> Float[Array, "B S"]:
        raise TypeError(f"{type(self).__name__} is an abstract score")


def _inner(query: Float[Array, "B A"], keys: Float[Array, "B S A"], dtype) -> Float[Array, "B S"]:
    return contract("ba,bsa->bs", query, keys, dtype)


def vector(key, name: str, width: int) -> nnx.Param:
    """A vector v for v . x, drawn as a matrix with one column."""
    return nnx.Param(jax.nn.initializers.glorot_uniform()(named(key, name), (width, 1)))


class Dot(Score):
    """h_t . m_s (Luong et al. 2015, section 3.1, dot). Projects nothing; needs H = M."""

    def __call__(self, query_BH, keys, state):
        return _inner(query_BH, keys, self.dtype)


class ScaledDot(Score):
    """g h_t . m_s, needs H = M.

    `config.scale` fixed: g = 1 / sqrt(H) (Vaswani et al. 2017, eq. 1). learned: g is a parameter
    that begins there (as the `scale` of TensorFlow's LuongAttention, which begins at 1).
    """

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        self.scale = nnx.Param(jnp.float32(query**-0.5)) if config.scale == "learned" else None

    def __call__(self, query_BH, keys, state):
        scale = query_BH.shape[-1] ** -0.5 if self.scale is None else self.scale[...]
        return _inner(query_BH, keys, self.dtype) * scale


class Cosine(Score):
    """g h_t . m_s / (|h_t| |m_s|) (Graves et al. 2014, eq. 5-6), needs H = M.

    `config.scale` learned: the key strength g is a parameter that begins at sqrt(H), where scores
    of independent vectors have unit variance. fixed: g = 1, scores between -1 and 1, with which no
    softmax can be sharp: over S positions no weight exceeds e^2 / (e^2 + S - 1).
    """

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        self.scale = nnx.Param(jnp.float32(query**0.5)) if config.scale == "learned" else None

    def prepare(self, memory_BSM):
        return _unit(memory_BSM)

    def __call__(self, query_BH, keys, state):
        score_BS = _inner(_unit(query_BH), keys, self.dtype)
        return score_BS if self.scale is None else score_BS * self.scale[...]


def _unit(x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
    """x / |x|, and 0 with a finite gradient for x = 0."""
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-12)


class General(Dot):
    """h_t^T W_a m_s (Luong et al. 2015, section 3.1, general): dot of the query and W_a m_s."""

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        self.memory = Linear(memory, query, key=named(key, "memory"), dtype=dtype, bias=False)
        self.key_width = query

    def prepare(self, memory_BSM):
        return self.memory(memory_BSM)


class Biaffine(General):
    """h_t^T U m_s + w_h . h_t + w_m . m_s (Dozat & Manning 2017, section 2.2, less the constant).

    w_h . h_t is the same at every position: a softmax does not see it, a sigmoid does. The keys
    hold U m_s and, in a last column, w_m . m_s.
    """

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        self.query_vector = vector(key, "query_vector", query)
        self.memory_vector = vector(key, "memory_vector", memory)
        self.key_width = query + 1

    def prepare(self, memory_BSM):
        linear_BS1 = product(memory_BSM, self.memory_vector[...], self.dtype)
        return jnp.concatenate([self.memory(memory_BSM), linear_BS1], axis=-1)

    def __call__(self, query_BH, keys, state):
        ones_B1 = jnp.ones_like(query_BH[:, :1])
        joined = jnp.concatenate([query_BH, ones_B1], axis=-1)
        linear_B1 = product(query_BH, self.query_vector[...], self.dtype)
        return _inner(joined, keys, self.dtype) + jnp.broadcast_to(linear_B1, keys.shape[:2])


class LinearCombination(Score):
    """w . [h_t; m_s; h_t * m_s] (Seo et al. 2017, eq. 1; AllenNLP's linear), needs H = M.

    Cut into w_h . h_t + w_m . m_s + (w_hm * h_t) . m_s, it needs no S x 3H array. As in `biaffine`,
    a softmax does not see the first part. Differences and sums of h_t and m_s, which AllenNLP
    offers too, add nothing to a linear function of both.
    """

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        self.query_vector = vector(key, "query_vector", query)
        self.memory_vector = vector(key, "memory_vector", memory)
        self.product_vector = vector(key, "product_vector", query)

    def __call__(self, query_BH, keys, state):
        scale_BH = jnp.broadcast_to(self.product_vector[...][:, 0], query_BH.shape)
        memory_BH = jnp.broadcast_to(self.memory_vector[...][:, 0], query_BH.shape)
        linear_B1 = product(query_BH, self.query_vector[...], self.dtype)
        together_BS = _inner(query_BH * scale_BH + memory_BH, keys, self.dtype)
        return together_BS + jnp.broadcast_to(linear_B1, together_BS.shape)


class Concat(Score):
    """v^T tanh(W [h_t; m_s]) (Luong et al. 2015, section 3.1, concat).

    W [h; m] = W_h h + W_m m, so one matrix on the joined vectors and Bahdanau et al.'s (2015,
    A.1.2) two matrices are the same function; the two products keep W_m m out of the loop.
    """

    joint = True

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        width = self.key_width = config.width
        self.query = Linear(query, width, key=named(key, "query"), dtype=dtype, bias=False)
        self.memory = Linear(memory, width, key=named(key, "memory"), dtype=dtype, bias=False)
        self.vector = vector(key, "vector", width)

    def prepare(self, memory_BSM):
        return self.memory(memory_BSM)

    def direction(self) -> Float[Array, "A 1"]:
        """v"""
        return self.vector[...]

    def __call__(self, query_BH, keys, state):
        joint_BSA = jnp.tanh(self.query(query_BH)[:, None, :] + keys)
        return product(joint_BSA, self.direction(), self.dtype)[..., 0]


class NormedConcat(Concat):
    """g v^T / |v| tanh(W_h h_t + W_m m_s): concat with v under weight normalisation.

    Salimans & Kingma (2016), eq. 2; for attention Raffel et al. (2017), eq. 16, less its bias b;
    its offset r belongs to the monotonic windows here. g begins at 1 / sqrt(A), as theirs.
    """

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        self.scale = nnx.Param(jnp.float32(config.width**-0.5))

    def direction(self):
        vector_A1 = self.vector[...]
        return self.scale[...] * vector_A1 * jax.lax.rsqrt(jnp.sum(vector_A1**2))


class Location(Score):
    """(W_a h_t)_s: one output for each position, from the decoder state alone.

    Luong et al. (2015), eq. 8, location. W_a has `config.max_positions` columns; positions behind
    them score as the last one.
    """

    sees_memory = False

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        positions = config.max_positions
        self.query = Linear(query, positions, key=named(key, "query"), dtype=dtype, bias=False)

    def __call__(self, query_BH, keys, state):
        score_BP = self.query(query_BH)
        position_S = jnp.minimum(jnp.arange(keys.shape[1]), score_BP.shape[1] - 1)
        return score_BP[:, position_S]


SCORES = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "cosine": Cosine,
    "general": General,
    "biaffine": Biaffine,
    "linear": LinearCombination,
    "concat": Concat,
    "normed_concat": NormedConcat,
    "location": Location,
}
