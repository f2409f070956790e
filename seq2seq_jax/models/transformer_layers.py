"""The layers of Transformers: norm, self-attention, attention to the memory, MLP."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from seq2seq_jax.models.attention.mechanism import Source, all_steps, make_attention
from seq2seq_jax.models.attention.scores import AttentionState
from seq2seq_jax.models.layers import Linear, Narrowing, Noise, add_bias, contract, drop_at
from seq2seq_jax.models.positions import Positions
from seq2seq_jax.rng import named


class LayerNorm(nnx.Module):
    """g (x - mean) / sqrt(variance + 1e-6) + b over the entries of x (Ba et al. 2016, eq. 3-4)."""

    def __init__(self, width: int):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
        unit = centred * jax.lax.rsqrt(variance + 1e-6)
        return add_bias(unit * jnp.broadcast_to(self.scale[...], x.shape), self.bias[...])


class Mlp(nnx.Module):
    """The same map at each position.

    relu:  max(0, x W_1 + b_1) W_2 + b_2 (Vaswani et al. 2017, eq. 2)
    gated: (swish(x W) * x V) W_2, without biases: SwiGLU (Shazeer 2020, eq. 6), whose three
    matrices have as many parameters as relu's two at 2/3 of `config.mlp_width`.
    """

    def __init__(self, config, width: int, *, key: Key[Array, ""], dtype: str):
        hidden = config.mlp_width
        gated = config.activation == "gated"
        self.inner = Linear(width, hidden, key=named(key, "inner"), dtype=dtype, bias=not gated)
        self.gate = (
            Linear(width, hidden, key=named(key, "gate"), dtype=dtype, bias=False)
            if gated
            else None
        )
        self.outer = Narrowing(hidden, width, key=named(key, "outer"), dtype=dtype, bias=not gated)

    def __call__(self, x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
        inner = self.inner(x)
        inner = jax.nn.relu(inner) if self.gate is None else jax.nn.silu(self.gate(x)) * inner
        return self.outer(inner)


class Where(NamedTuple):
    """Where the tokens at hand stand, how positions are marked, and who may see whom.

    `seen` has the tokens on its second axis and those they look at on its third.
    """

    position_T: Int[Array, " T"]
    positions: Positions
    seen: Bool[Array, "#B #T P"]


class Cache(NamedTuple):
    """Keys and values of the tokens so far, with room for P; zeros where none stands yet.

    Heads stand before positions, as everywhere in a self-attention: on a CPU a product over rows
    and heads is up to four times as slow where these axes are not the leading ones.
    """

    keys_BNPD: Float[Array, "B N P D"]
    values_BNPD: Float[Array, "B N P D"]


class SelfAttention(nnx.Module):
    """Each position attends to those it may see (Vaswani et al. 2017, section 3.2).

    softmax(Q K^T / sqrt(D)) V for N heads of width D = H / N, joined and mapped by W_o.
    """

    def __init__(self, config, width: int, *, key: Key[Array, ""], dtype: str):
        def linear(name):
            return Linear(width, width, key=named(key, name), dtype=dtype, bias=False)

        self.query, self.key, self.value = linear("query"), linear("key"), linear("value")
        self.output = linear("output")
        self.heads, self.dtype = config.heads, dtype

    def empty(self, batch: int, positions: int) -> Cache:
        zeros = jnp.zeros((batch, self.heads, positions, self.query.kernel.shape[1] // self.heads))
        return Cache(zeros, zeros)

    def __call__(
        self, x_BTH: Float[Array, "B T H"], where: Where, cache: Cache | None = None
    ) -> tuple[Float[Array, "B T H"], Cache | None]:
        """With a cache, whose room is P, the tokens at hand go into it."""
        position_T, rotate = where.position_T, where.positions.rotate

        def split(linear):
            return linear(x_BTH).reshape(*x_BTH.shape[:2], self.heads, -1).swapaxes(1, 2)

        query_BNTD = rotate(split(self.query), position_T)
        new = Cache(rotate(split(self.key), position_T), split(self.value))
        if cache is not None:
            cache = new = jax.tree.map(
                lambda old, part: jax.lax.dynamic_update_slice_in_dim(old, part, position_T[0], 2),
                cache,
                new,
            )
        score_BNTP = contract("bntd,bnpd->bntp", query_BNTD, new.keys_BNPD, self.dtype)
        score_BNTP *= query_BNTD.shape[-1] ** -0.5
        weight_BNTP = jax.nn.softmax(score_BNTP, axis=-1, where=where.seen[:, None])
        y_BNTD = contract("bntp,bnpd->bntd", weight_BNTP, new.values_BNPD, self.dtype)
        return self.output(y_BNTD.swapaxes(1, 2).reshape(x_BTH.shape)), cache


class CrossAttention(nnx.Module):
    """A decoder layer's look at the memory, with any score of the registry.

    The context, M wide, is mapped to H where it has another width, and where one head alone has no
    matrix W_o of its own: it and the value matrix are one then.
    """

    def __init__(self, config, width: int, memory: int, *, key: Key[Array, ""]):
        attention, dtype = config.attention, config.dtype
        self.attention = make_attention(config, width, memory, key=named(key, "attention"))
        mapped = attention.heads > 1 and memory == width
        self.context = (
            None
            if mapped
            else Linear(memory, width, key=named(key, "context"), dtype=dtype, bias=False)
        )

    def __call__(
        self,
        query_BTH: Float[Array, "B T H"],
        source: Source,
        state: AttentionState,
        noise: Noise | None,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B T N S"]]:
        context_BTM, alignment_BTNS = all_steps(self.attention, query_BTH, source, state, noise)
        if self.context is not None:
            context_BTM = self.context(context_BTM)
        return context_BTM, alignment_BTNS


class Layer(nnx.Module):
    """An encoder's layer: self-attention and MLP, with a residual connection around each.

    pre:  x + f(norm(x)) (Xiong et al. 2020);  post: norm(x + f(x)) (Vaswani et al. 2017, 3.1).
    """

    def __init__(self, config, width: int, *, key: Key[Array, ""]):
        transformer, dtype = config.transformer, config.dtype
        self.pre = transformer.norm == "pre"
        self.same_over_time = config.dropout.same_over_time
        self.self_norm, self.mlp_norm = LayerNorm(width), LayerNorm(width)
        self.self_attention = SelfAttention(
            transformer, width, key=named(key, "self_attention"), dtype=dtype
        )
        self.mlp = Mlp(transformer, width, key=named(key, "mlp"), dtype=dtype)

    def _residual(self, name, norm, sublayer, x_BTH, where: Where, noise: Noise | None):
        """`sublayer` gives f and whatever else there is to hand on."""
        y_BTH, more = sublayer(norm(x_BTH) if self.pre else x_BTH)
        if noise is not None:
            same = self.same_over_time
            y_BTH = drop_at(noise.at(name), Noise.drop_output, y_BTH, where.position_T, same)
        return x_BTH + y_BTH if self.pre else norm(x_BTH + y_BTH), more

    def _self(self, x_BTH, where: Where, noise: Noise | None, cache: Cache | None):
        def sublayer(x_BTH):
            return self.self_attention(x_BTH, where, cache)

        return self._residual("self", self.self_norm, sublayer, x_BTH, where, noise)

    def _mlp(self, x_BTH, where: Where, noise: Noise | None):
        def sublayer(x_BTH):
            return self.mlp(x_BTH), None

        return self._residual("mlp", self.mlp_norm, sublayer, x_BTH, where, noise)[0]

    def __call__(
        self, x_BTH: Float[Array, "B T H"], where: Where, noise: Noise | None
    ) -> Float[Array, "B T H"]:
        x_BTH, _ = self._self(x_BTH, where, noise, None)
        return self._mlp(x_BTH, where, noise)


class DecoderLayer(Layer):
    """Attention to the memory stands between self-attention and MLP."""

    def __init__(self, config, width: int, memory: int, *, key: Key[Array, ""]):
        super().__init__(config, width, key=key)
        self.cross_norm = LayerNorm(width)
        self.cross_attention = CrossAttention(
            config, width, memory, key=named(key, "cross_attention")
        )

    def decode(
        self,
        x_BTH: Float[Array, "B T H"],
        where: Where,
        noise: Noise | None,
        cache: Cache | None,
        source: Source,
        state: AttentionState,
    ) -> tuple[Float[Array, "B T H"], Cache | None, Float[Array, "B T N S"]]:
        """The output, the cache to come, the alignments."""

        def sublayer(x_BTH):
            return self.cross_attention(x_BTH, source, state, noise)

        x_BTH, cache = self._self(x_BTH, where, noise, cache)
        x_BTH, alignment_BTNS = self._residual(
            "cross", self.cross_norm, sublayer, x_BTH, where, noise
        )
        return self._mlp(x_BTH, where, noise), cache, alignment_BTNS
