"""How a Transformer knows where a token stands: `model.transformer.positions`.

Positions count from 0, from the first token of a row, so that padding behind it changes nothing.

To add one: a class here, its name in POSITIONS, and in the list of config_checks.py.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from seq2seq_jax.models.layers import Embedding
from seq2seq_jax.rng import named


class Positions(nnx.Module):
    """`add` marks the embedded tokens, `rotate` the queries and keys of self-attention."""

    def __init__(self, config, width: int, *, key: Key[Array, ""], dtype: str):
        pass

    def add(
        self, x_BTH: Float[Array, "B T H"], position_T: Int[Array, " T"]
    ) -> Float[Array, "B T H"]:
        return x_BTH

    def rotate(
        self, x_BNTD: Float[Array, "B N T D"], position_T: Int[Array, " T"]
    ) -> Float[Array, "B N T D"]:
        return x_BNTD


def _angles(position_T: Int[Array, " T"], width: int) -> Float[Array, "T F"]:
    """t / 10000^(2i / width) for the pairs i of `width` entries."""
    frequency_F = np.asarray(10000.0 ** (-np.arange(0, width, 2) / width), np.float32)
    return position_T[:, None].astype(jnp.float32) * frequency_F[None]


class Sinusoidal(Positions):
    """x_t + PE_t: PE_t[2i] = sin(t / 10000^(2i / H)), PE_t[2i + 1] = cos(the same).

    Vaswani et al. (2017), section 3.5. Embeddings have unit variance here, so they are not
    multiplied by sqrt(H) before.
    """

    def add(self, x_BTH, position_T):
        angle_TF = _angles(position_T, x_BTH.shape[-1])
        pairs_TF2 = jnp.stack([jnp.sin(angle_TF), jnp.cos(angle_TF)], axis=-1)
        wave_TH = pairs_TF2.reshape(position_T.shape[0], -1)[:, : x_BTH.shape[-1]]
        return x_BTH + wave_TH[None]


class Learned(Positions):
    """x_t + P_t, P a table that begins as the embeddings do (Gehring et al. 2017, section 3.1).

    It has `config.max_positions` rows; positions behind them share the last one.
    """

    def __init__(self, config, width, *, key, dtype):
        rows = config.max_positions
        self.embedding = Embedding(rows, width, key=named(key, "positions"), dtype=dtype)
        self.last = rows - 1

    def add(self, x_BTH, position_T):
        return x_BTH + self.embedding(jnp.minimum(position_T, self.last))[None]


class Rotary(Positions):
    """Turns each pair of entries of queries and keys by an angle that grows with the position.

    (x[2i], x[2i + 1]) is turned by t / 10000^(2i / D) (Su et al. 2021, section 3.4.2), so that a
    product of query and key depends on the distance of the two alone. D has to be even.
    """

    def rotate(self, x_BNTD, position_T):
        angle_TF = _angles(position_T, x_BNTD.shape[-1])
        cos, sin = (wave(angle_TF)[None, None] for wave in (jnp.cos, jnp.sin))
        even, odd = x_BNTD[..., 0::2], x_BNTD[..., 1::2]
        turned = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
        return turned.reshape(x_BNTD.shape)


POSITIONS = {"sinusoidal": Sinusoidal, "learned": Learned, "rotary": Rotary}
