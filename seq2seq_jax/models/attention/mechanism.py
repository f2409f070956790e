"""Attention as the decoder sees it: a query in, a context and an alignment out."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from seq2seq_jax.models.attention.normalizers import NORMALIZERS
from seq2seq_jax.models.attention.scores import SCORES, AttentionState
from seq2seq_jax.models.encoders import Memory


class Source(NamedTuple):
    """What every decoder step looks at, computed once a sequence."""

    memory_BSM: Float[Array, "B S M"]
    keys: Float[Array, "B S A"]
    valid_BS: Bool[Array, "B S"]


class Attention(nnx.Module):
    """alignment = normalise(score(query, keys)), context = sum over s of alignment_s memory_s.

    Luong et al. 2015, eq. 7; Bahdanau et al. 2015, eq. 5-6. `context_width` is M.
    """

    def __init__(self, config, query: int, memory: int, *, key: Key[Array, ""], dtype: str):
        self.score = SCORES[config.score](query, memory, config.width, key=key, dtype=dtype)
        self.normalizer = config.normalizer
        self.context_width = memory
        self.dtype = dtype

    def prepare(self, memory: Memory) -> Source:
        keys = self.score.prepare(memory.memory_BSM)
        return Source(memory.memory_BSM, keys, memory.valid_BS)

    def __call__(
        self, query_BH: Float[Array, "B H"], source: Source, state: AttentionState
    ) -> tuple[Float[Array, "B M"], Float[Array, "B S"]]:
        score_BS = self.score(query_BH, source.keys, state)
        alignment_BS = NORMALIZERS[self.normalizer](score_BS, source.valid_BS)
        context_BM = jnp.einsum(
            "bs,bsm->bm",
            alignment_BS.astype(self.dtype),
            source.memory_BSM.astype(self.dtype),
            preferred_element_type=jnp.float32,
        )
        return context_BM, alignment_BS


class FixedContext(nnx.Module):
    """No attention: the same context at every step, and an alignment of zeros.

    `every_input` gives the summary of the source (Cho et al. 2014); `initial` gives a context of
    width 0, so that the source reaches the decoder through its initial state alone
    (Sutskever et al. 2014).
    """

    def __init__(self, fixed_context: str, memory: int):
        self.context_width = memory if fixed_context == "every_input" else 0

    def prepare(self, memory: Memory) -> Source:
        keys = memory.summary_BM[:, None, : self.context_width]
        return Source(memory.memory_BSM, keys, memory.valid_BS)

    def __call__(
        self, query_BH: Float[Array, "B H"], source: Source, state: AttentionState
    ) -> tuple[Float[Array, "B M"], Float[Array, "B S"]]:
        return source.keys[:, 0], jnp.zeros(source.valid_BS.shape)
