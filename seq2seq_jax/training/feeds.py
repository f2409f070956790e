"""What the decoder is fed where gold is not: a token that it predicted, or a mixture of many.

A feed weighs the vocabulary by w = softmax(z), where g is standard Gumbel noise:

    argmax, softmax_mixture   z = logits / temperature
    top_k_mixture             the same, the top_k largest alone
    sample                    z = logits / temperature + g, so that the largest is a draw from
                              softmax(logits / temperature) (Jang et al. 2017, eq. 1)
    gumbel                    z = (logits + g) / temperature (Jang et al. 2017, eq. 2)

`argmax` and `sample` feed the embedding of the token with the largest weight, the others the
mixture sum_v w_v table_v (Goyal et al. 2017; Mihaylova & Martins 2019). `uniform` feeds any word.

Without `through` the weights are constants: the embeddings learn from what is fed, the prediction
that chose it does not. With `through` the loss reaches the prediction by the weights; single
tokens take the straight-through estimator, the gradient of the mixture by their own w (Bengio et
al. 2013), which for `sample` is that of Jang et al. (2017), section 2.2.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int, Key

from seq2seq_jax.models import layers
from seq2seq_jax.models.layers import Embedding, contract, product
from seq2seq_jax.types import SPECIALS

Logits = Float[Array, "B V"]
Keys = Key[Array, " B"]
Fed = tuple[Int[Array, " B"], Float[Array, "B E"]]


class Feed(NamedTuple):
    """A feed by its name, and its settings; `temperature` may be traced.

    Called, it gives the tokens fed, of a mixture the likeliest, and the vectors that stand for
    them. A draw depends on the key of its row alone.
    """

    name: str = "argmax"
    through: bool = False
    top_k: int = 1
    temperature: Float[Array, ""] | float = 1.0

    @property
    def is_constant_token(self) -> bool:
        """Whether a token is fed that the logits choose, and no gradient reaches them."""
        return self.name in ("argmax", "sample") and not self.through

    def __call__(self, logits_BV: Logits, keys_B: Keys, embedding: Embedding) -> Fed:
        if not self.through:
            logits_BV = jax.lax.stop_gradient(logits_BV)
        return FEEDS[self.name](self, logits_BV, keys_B, embedding)


ARGMAX = Feed()


def argmax(feed: Feed, logits_BV: Logits, keys_B: Keys, embedding: Embedding) -> Fed:
    """The likeliest token."""
    return _largest(feed, logits_BV / feed.temperature, embedding)


def sample(feed: Feed, logits_BV: Logits, keys_B: Keys, embedding: Embedding) -> Fed:
    """A draw from the model's distribution."""
    return _largest(feed, logits_BV / feed.temperature + _noise(logits_BV, keys_B), embedding)


def uniform(feed: Feed, logits_BV: Logits, keys_B: Keys, embedding: Embedding) -> Fed:
    """Any word, whatever the model says: noise as the control of scheduled sampling."""
    first, size = len(SPECIALS), logits_BV.shape[-1]
    token_B = jax.vmap(lambda key: jax.random.randint(key, (), first, size))(keys_B)
    return token_B, embedding(token_B)


def softmax_mixture(feed: Feed, logits_BV: Logits, keys_B: Keys, embedding: Embedding) -> Fed:
    """All embeddings, weighted by the model's distribution."""
    return _mixed(logits_BV / feed.temperature, embedding)


def gumbel(feed: Feed, logits_BV: Logits, keys_B: Keys, embedding: Embedding) -> Fed:
    """All embeddings, weighted by a softened draw: near one token where the temperature is low."""
    return _mixed((logits_BV + _noise(logits_BV, keys_B)) / feed.temperature, embedding)


def top_k_mixture(feed: Feed, logits_BV: Logits, keys_B: Keys, embedding: Embedding) -> Fed:
    """The embeddings of the likeliest `top_k` tokens, or of all if there are fewer."""
    top = min(feed.top_k, logits_BV.shape[-1])
    score_BK, token_BK = jax.lax.top_k(logits_BV / feed.temperature, top)
    weight_BK = jax.nn.softmax(score_BK, axis=-1)
    return token_BK[:, 0], contract("bk,bke->be", weight_BK, embedding(token_BK), embedding.dtype)


FEEDS: dict[str, Callable[[Feed, Logits, Keys, Embedding], Fed]] = {
    "argmax": argmax,
    "sample": sample,
    "gumbel": gumbel,
    "top_k_mixture": top_k_mixture,
    "softmax_mixture": softmax_mixture,
    "uniform": uniform,
}


def _noise(logits_BV: Logits, keys_B: Keys) -> Logits:
    return jax.vmap(lambda key: jax.random.gumbel(key, logits_BV.shape[1:]))(keys_B)


def _mixed(score_BV: Logits, embedding: Embedding) -> Fed:
    weight_BV = jax.nn.softmax(score_BV, axis=-1)
    x_BE = product(weight_BV, embedding.table[...], embedding.dtype)
    return layers.argmax(score_BV), x_BE


def _largest(feed: Feed, score_BV: Logits, embedding: Embedding) -> Fed:
    token_B = layers.argmax(score_BV)
    x_BE = embedding(token_B)
    if feed.through:
        soft_BE = _mixed(score_BV, embedding)[1]
        # Written so that the sum is the embedding to the last bit.
        x_BE = jax.lax.stop_gradient(x_BE) + (soft_BE - jax.lax.stop_gradient(soft_BE))
    return token_B, x_BE
