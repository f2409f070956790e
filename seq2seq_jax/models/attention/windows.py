"""Windows: which source positions a step may attend to, and how the reader moves.

A window turns scores into the alignment with the help of the normaliser. A row may sum to less than
one where the paper's does: under local-p's Gaussian, and where a monotonic reader ran past the end.

To add one: a class here, its name in WINDOWS, and in the list of config_checks.py.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from seq2seq_jax.models.attention.matching import make_score
from seq2seq_jax.models.attention.scores import AttentionState, vector
from seq2seq_jax.models.layers import Linear, product
from seq2seq_jax.rng import drawn_by_place, named

# (score, valid) -> alignment, at the step's temperature and noise.
Normalize = Callable[[Float[Array, "B S"], Bool[Array, "B S"]], Float[Array, "B S"]]


class Window(nnx.Module):
    """`global`: every real position. The base of the others."""

    remembers_position: ClassVar[bool] = False

    def __init__(self, config, query: int, memory: int, *, key: Key[Array, ""], dtype: str):
        self.reach = config.window_width

    def prepare(self, memory_BSM: Float[Array, "B S M"]) -> Any:
        """What the window itself needs of the memory, once a sequence."""
        return None

    def __call__(
        self,
        score_BS: Float[Array, "B S"],
        query_BH: Float[Array, "B H"],
        keys: Any,
        valid_BS: Bool[Array, "B S"],
        state: AttentionState,
        normalize: Normalize,
        key: Key[Array, ""] | None,
    ) -> tuple[Float[Array, "B S"], Float[Array, "B S"] | None]:
        """(alignment, where the reader stands afterwards). `key`: noise in training, else None."""
        return normalize(score_BS, valid_BS), None


def _offsets(centre_B: Float[Array, " B"], positions: int) -> Float[Array, "B S"]:
    """s - p, for each position s."""
    at_S = jnp.arange(positions, dtype=jnp.float32)
    shape = (centre_B.shape[0], positions)
    return jnp.broadcast_to(at_S, shape) - jnp.broadcast_to(centre_B[:, None], shape)


def _lengths(valid_BS: Bool[Array, "B S"]) -> Float[Array, " B"]:
    return valid_BS.sum(axis=1).astype(jnp.float32)


class LocalM(Window):
    """Positions p_t - D ... p_t + D with p_t = t (Luong et al. 2015, section 3.2, local-m).

    A source that ends before t keeps the window at its last position.
    """

    def __call__(self, score_BS, query_BH, keys, valid_BS, state, normalize, key):
        centre_B = jnp.minimum(state.step.astype(jnp.float32), _lengths(valid_BS) - 1)
        inside_BS = jnp.abs(_offsets(centre_B, score_BS.shape[1])) <= self.reach
        return normalize(score_BS, valid_BS & inside_BS), None


class LocalP(Window):
    """alignment_s exp(-(s - p_t)^2 / (2 sigma^2)), p_t = S sigmoid(v^T tanh(W h_t)), sigma = D/2.

    Luong et al. (2015), eq. 9 and 10, local-p: S is the length of the source, and only positions
    from p_t - D to p_t + D are normalised. Rows sum to at most one, as in the paper.
    """

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        width = config.width
        self.query = Linear(query, width, key=named(key, "query"), dtype=dtype, bias=False)
        self.vector = vector(key, "vector", width)
        self.dtype = dtype

    def __call__(self, score_BS, query_BH, keys, valid_BS, state, normalize, key):
        hidden_BA = jnp.tanh(self.query(query_BH))
        share_B = jax.nn.sigmoid(product(hidden_BA, self.vector[...], self.dtype)[:, 0])
        offset_BS = _offsets(_lengths(valid_BS) * share_B, score_BS.shape[1])
        inside_BS = jnp.abs(offset_BS) <= self.reach
        gaussian_BS = jnp.exp(-2 * (offset_BS / self.reach) ** 2)
        return normalize(score_BS, valid_BS & inside_BS) * gaussian_BS, None


class Monotonic(Window):
    """A reader that moves only forward (Raffel et al. 2017).

    From where it stands it goes on until a position says stop, with p_s = sigmoid(score_s + r):

        q_s = (1 - p_{s-1}) q_{s-1} + alignment_{t-1,s},  alignment_{t,s} = p_s q_s  (eq. 13-14)

    In training this is the expected alignment, and N(0, 1) is added to the scores, so that p
    becomes decisive (section 2.5). The recurrence runs as an associative scan over the source:
    unlike the paper's quotient of cumulative products, nothing is divided by a small number. In
    evaluation p is 1 above 1/2 and else 0, which makes the same formula the hard process. A reader
    that finds no stop has passed the end: it gives zeros from then on. The normaliser is not used.
    r is learned and begins at `config.monotonic_offset`.
    """

    remembers_position = True

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        self.offset = nnx.Param(jnp.float32(config.monotonic_offset))

    def move(self, score_BS, valid_BS, state, key) -> Float[Array, "B S"]:
        """Where the reader stops next, as probabilities."""
        score_BS = score_BS + self.offset[...]
        if key is None:
            stop_BS = (score_BS > 0).astype(jnp.float32)
        else:
            # S x B, so that more padding behind leaves the noise of the real positions as it is.
            noise_SB = drawn_by_place(jax.random.normal, key, score_BS.shape[::-1], axis=1)
            stop_BS = jax.nn.sigmoid(score_BS + noise_SB.T)
        stop_BS = jnp.where(valid_BS, stop_BS, 0.0)
        passed_BS = jnp.pad(1 - stop_BS[:, :-1], ((0, 0), (1, 0)))

        def join(left, right):
            return left[0] * right[0], right[0] * left[1] + right[1]

        _, reached_BS = jax.lax.associative_scan(join, (passed_BS, state.position_BNS), axis=1)
        return stop_BS * reached_BS

    def __call__(self, score_BS, query_BH, keys, valid_BS, state, normalize, key):
        position_BS = self.move(score_BS, valid_BS, state, key)
        return position_BS, position_BS


class Chunkwise(Monotonic):
    """MoChA: the normaliser over the last w positions up to where the reader stops.

        alignment_s = sum over k = s ... s + w - 1 of position_k normalise(u_{k-w+1} ... u_k)_s

    Chiu & Raffel (2018), eq. 20-23, with w = `config.chunk_width` and a score u of its own (of the
    same kind). Any normaliser takes the softmax's place.
    """

    def __init__(self, config, query, memory, *, key, dtype):
        super().__init__(config, query, memory, key=key, dtype=dtype)
        self.score = make_score(config, query, memory, key=named(key, "chunk"), dtype=dtype)
        self.width = config.chunk_width

    def prepare(self, memory_BSM):
        return self.score.prepare(memory_BSM)

    def __call__(self, score_BS, query_BH, keys, valid_BS, state, normalize, key):
        position_BS = self.move(score_BS, valid_BS, state, key)
        chunk_BS = self.score(query_BH, keys, state)
        batch, positions = score_BS.shape

        def chunks(x_BS):
            """Row k of the second axis holds positions k - w + 1 ... k."""
            padded_BP = jnp.pad(x_BS, ((0, 0), (self.width - 1, 0)))
            shifts = [padded_BP[:, i : i + positions] for i in range(self.width)]
            return jnp.stack(shifts, axis=-1).reshape(batch * positions, self.width)

        share = normalize(chunks(chunk_BS), chunks(valid_BS)).reshape(batch, positions, self.width)
        weight_BSW = position_BS[..., None] * share
        alignment_BS = jnp.zeros_like(position_BS)
        for i in range(self.width):
            back = self.width - 1 - i
            alignment_BS += jnp.pad(weight_BSW[:, back:, i], ((0, 0), (0, min(back, positions))))
        return alignment_BS, position_BS


WINDOWS = {
    "global": Window,
    "local_m": LocalM,
    "local_p": LocalP,
    "monotonic": Monotonic,
    "chunkwise": Chunkwise,
}
