"""Normalisers: from scores to an alignment, zero on padding.

All compute in float32 (float64 stays float64). Padding gets exactly 0, whatever its score, and
passes no gradient back. A row of padding alone gives zeros, with zero gradients: minus infinity in
place of padding would give NaN there, a large negative number would attend to it. The temperature
divides the scores before they come here.

To add one: a class here, its name in NORMALIZERS, and in the list of config_checks.py.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from seq2seq_jax.models.attention import entmax
from seq2seq_jax.models.attention.entmax import widened
from seq2seq_jax.rng import drawn_by_place


class Normalizer(nnx.Module):
    """alignment = normalise(score). The first key is for parameters, which most have none of; the
    second one is the noise of a training step, None in evaluation."""

    def __init__(self, *, key: Key[Array, ""]):
        pass

    def __call__(
        self,
        score_BS: Float[Array, "B S"],
        valid_BS: Bool[Array, "B S"],
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B S"]:
        raise TypeError(f"{type(self).__name__} is an abstract normaliser")


class Softmax(Normalizer):
    """exp(e_s) / sum over s' of exp(e_s') (Bahdanau et al. 2015, eq. 6)."""

    def __call__(self, score_BS, valid_BS, key=None):
        return jax.nn.softmax(widened(score_BS), axis=-1, where=valid_BS)


class Sparsemax(Normalizer):
    """[e_s - tau]_+ (Martins & Astudillo 2016, eq. 2-3)."""

    def __call__(self, score_BS, valid_BS, key=None):
        return entmax.sparsemax(score_BS, valid_BS)


class Entmax15(Normalizer):
    """[e_s / 2 - tau]_+ ^ 2 (Peters et al. 2019, algorithm 2)."""

    def __call__(self, score_BS, valid_BS, key=None):
        return entmax.entmax15(score_BS, valid_BS)


class Entmax(Normalizer):
    """[(alpha - 1) e_s - tau]_+ ^ (1 / (alpha - 1)) with a learned alpha (Correia et al. 2019).

    alpha = 1 + sigmoid(logit), between softmax and sparsemax; it starts at 1.5.
    """

    def __init__(self, *, key: Key[Array, ""]):
        self.logit = nnx.Param(jnp.zeros(()))

    def __call__(self, score_BS, valid_BS, key=None):
        return entmax.entmax(score_BS, valid_BS, 1 + jax.nn.sigmoid(self.logit[...]))


class Sigmoid(Normalizer):
    """sigma(e_s) / sum over s' of sigma(e_s') (Chorowski et al. 2015, section 2.3): smoothing.

    Written as the softmax of log sigma(e), which holds where every sigma(e) is 0 in float32. The
    only normaliser that a constant added to all scores changes.
    """

    def __call__(self, score_BS, valid_BS, key=None):
        return jax.nn.softmax(jax.nn.log_sigmoid(widened(score_BS)), axis=-1, where=valid_BS)


class Hard(Normalizer):
    """1 at the greatest score, the first of equals, with the gradient of softmax: straight-through
    (Bengio, Leonard & Courville 2013)."""

    def __call__(self, score_BS, valid_BS, key=None):
        soft_BS = jax.nn.softmax(widened(score_BS), axis=-1, where=valid_BS)
        best_B = jnp.argmax(jnp.where(valid_BS, score_BS, -jnp.inf), axis=-1)
        hard_BS = jax.nn.one_hot(best_B, score_BS.shape[-1], dtype=soft_BS.dtype) * valid_BS
        # In this order the value is the one-hot vector to the last bit: soft - soft is 0.
        return hard_BS + (soft_BS - jax.lax.stop_gradient(soft_BS))


class Gumbel(Hard):
    """A draw from softmax(e) in training, the greatest score in evaluation.

    The draw is the argmax of e_s + g_s with standard Gumbel noise g (Maddison et al. 2017), its
    gradient that of softmax(e + g): the straight-through Gumbel-softmax of Jang et al. (2017,
    section 2.2). Their temperature, which divides the noise as well, is 1; the one that divides the
    scores says how far the draws spread.
    """

    def __call__(self, score_BS, valid_BS, key=None):
        if key is not None:
            # S x B, so that more padding behind leaves the noise of the real positions as it is
            # (but under `chunkwise`, where B counts positions too).
            score_BS = widened(score_BS)
            score_BS += drawn_by_place(jax.random.gumbel, key, score_BS.shape[::-1], axis=1).T
        return super().__call__(score_BS, valid_BS)


NORMALIZERS = {
    "softmax": Softmax,
    "sparsemax": Sparsemax,
    "entmax15": Entmax15,
    "entmax": Entmax,
    "sigmoid": Sigmoid,
    "hard": Hard,
    "gumbel": Gumbel,
}
