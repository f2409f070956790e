"""Scores of equal size, for comparisons in which capacity must not be what differs."""

import jax
from flax import nnx
from jaxtyping import Array, Key

from seq2seq_jax.models.attention.scores import SCORES, Concat, Score
from seq2seq_jax.models.layers import Linear
from seq2seq_jax.rng import named


class Projected(Score):
    """score(P h_t, Q m_s): another score in a space of A dimensions.

    A score that does not look at the memory projects the query alone.
    """

    def __init__(self, config, query: int, memory: int, *, key: Key[Array, ""], dtype: str):
        width = config.width
        self.score = SCORES[config.score](
            config, width, width, key=named(key, "score"), dtype=dtype
        )
        self.query = Linear(query, width, key=named(key, "query"), dtype=dtype, bias=False)
        self.memory = (
            Linear(memory, width, key=named(key, "memory"), dtype=dtype, bias=False)
            if self.score.sees_memory
            else None
        )
        self.key_width = self.score.key_width if self.score.sees_memory else memory

    def prepare(self, memory_BSM):
        return self.score.prepare(memory_BSM if self.memory is None else self.memory(memory_BSM))

    def __call__(self, query_BH, keys, state):
        return self.score(self.query(query_BH), keys, state)


def make_score(config, query: int, memory: int, *, key: Key[Array, ""], dtype: str) -> Score:
    """The score that `config` names.

    With `config.match_parameters`, its space has the width that makes it as large as `concat` with
    `config.width`, as nearly as whole numbers allow: concat and its kind choose their own A, the
    others are computed on projections to A dimensions.
    """

    def create(kind, width: int, key):
        sized = config.copy_and_resolve_references()
        sized.width = width
        return kind(sized, query, memory, key=key, dtype=dtype)

    kind = SCORES[config.score]
    if not config.match_parameters:
        return kind(config, query, memory, key=key, dtype=dtype)
    if not kind.joint:
        kind = Projected

    def size(kind, width: int) -> int:
        shapes = nnx.eval_shape(lambda key: create(kind, width, key), jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(shapes, nnx.Param)))

    target = size(Concat, config.width)
    low, high = 1, 2
    while size(kind, high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(kind, middle) < target else (low, middle)
    width = min((low, high), key=lambda width: abs(size(kind, width) - target))
    return create(kind, width, key)
