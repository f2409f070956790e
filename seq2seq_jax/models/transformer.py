"""The Transformer's encoder and decoder (Vaswani et al. 2017), for either side of a model.

Self-attention and MLP are those of `config.transformer`; the attention from decoder to memory is
that of `config.attention`, as in recurrent decoders.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from seq2seq_jax.models.attention.mechanism import Source
from seq2seq_jax.models.attention.scores import AttentionState
from seq2seq_jax.models.decoders import Decoder
from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.models.layers import Embedding, Linear, Noise, drop_at
from seq2seq_jax.models.positions import POSITIONS
from seq2seq_jax.models.transformer_layers import (
    Cache,
    DecoderLayer,
    Layer,
    LayerNorm,
    Where,
)
from seq2seq_jax.rng import named
from seq2seq_jax.types import PAD


class Stack(nnx.Module):
    """What both sides share: the way in, the layers, the way out.

    A linear map where the embedding has another width; positions; layers; with pre-norm a last
    norm. `name` is that of the side.
    """

    def __init__(self, config, name: str, layer: Callable[..., Any], *, key: Key[Array, ""]):
        side, transformer, dtype = config[name], config.transformer, config.dtype
        self.name, self.same_over_time = name, config.dropout.same_over_time
        self.project = (
            Linear(config.embedding, side.width, key=named(key, "project"), dtype=dtype, bias=False)
            if config.embedding != side.width
            else None
        )
        self.positions = POSITIONS[transformer.positions](
            transformer, side.width, key=named(key, "positions"), dtype=dtype
        )
        self.layers = nnx.List(
            layer(config, side.width, key=named(key, f"layer{index}"))
            for index in range(side.layers)
        )
        self.norm = LayerNorm(side.width) if transformer.norm == "pre" else None

    def enter(
        self, x_BTE: Float[Array, "B T E"], position_T: Int[Array, " T"], noise: Noise | None
    ) -> Float[Array, "B T H"]:
        if noise is not None:
            at_input = noise.at(f"{self.name}/input")
            x_BTE = drop_at(at_input, Noise.drop_input, x_BTE, position_T, self.same_over_time)
        x_BTH = x_BTE if self.project is None else self.project(x_BTE)
        return self.positions.add(x_BTH, position_T)

    def at_layer(self, noise: Noise | None, index: int) -> Noise | None:
        return None if noise is None else noise.at(f"{self.name}/layer{index}")

    def leave(self, x_BTH: Float[Array, "B T H"]) -> Float[Array, "B T H"]:
        return x_BTH if self.norm is None else self.norm(x_BTH)


class TransformerEncoder(nnx.Module):
    """Every real token sees every real token. The summary is the mean over them."""

    def __init__(self, config, embedding: Embedding, *, key: Key[Array, ""]):
        self.embedding = embedding
        self.width = config.encoder.width
        self.stack = Stack(config, "encoder", Layer, key=key)

    def __call__(self, source_BS: Int[Array, "B S"], noise: Noise | None = None) -> Memory:
        stack, valid_BS = self.stack, source_BS != PAD
        where = Where(jnp.arange(source_BS.shape[1]), stack.positions, valid_BS[:, None])
        x_BSM = stack.enter(self.embedding(source_BS), where.position_T, noise)
        for index, layer in enumerate(stack.layers):
            x_BSM = layer(x_BSM, where, stack.at_layer(noise, index))
        # Zeros on padding, as a recurrent encoder has them.
        memory_BSM = jnp.where(valid_BS[..., None], stack.leave(x_BSM), 0.0)
        words_B1 = jnp.maximum(valid_BS.sum(axis=1, keepdims=True), 1)
        return Memory(memory_BSM, valid_BS, (), memory_BSM.sum(axis=1) / words_B1)


class TransformerState(NamedTuple):
    """A cache for each layer, and the last layer's attention, whose `step` is the position.

    One AttentionState serves all layers: what else it could hold is for windows and terms that
    look at the step before, which a Transformer cannot have (it makes all steps at once).
    """

    caches: tuple[Cache, ...]
    attention: AttentionState


class TransformerDecoder(Decoder):
    """Every token sees itself, those before it, and the memory.

    A source is the memory, with one source for each layer in the place of the keys.
    """

    def __init__(
        self, config, embedding: Embedding, memory: int, vocabulary: int, *, key: Key[Array, ""]
    ):
        super().__init__(config, embedding, vocabulary, key=key)
        layer = functools.partial(DecoderLayer, memory=memory)
        self.stack = Stack(config, "decoder", layer, key=key)

    def start(
        self, memory: Memory, temperature: Float[Array, ""] | None = None, positions: int = 0
    ) -> tuple[TransformerState, Source]:
        """See `Decoder`; `step` needs the room, `forced` does not."""
        temperature = self._temperature(temperature)
        layers, batch = self.stack.layers, memory.valid_BS.shape[0]
        caches = tuple(layer.self_attention.empty(batch, positions) for layer in layers)
        looks = [layer.cross_attention.attention for layer in layers]
        sources = tuple(attention.prepare(memory, temperature) for attention in looks)
        state = TransformerState(caches, looks[-1].start(memory.valid_BS))
        return state, Source(memory.memory_BSM[None], sources, memory.valid_BS, temperature)

    def step(
        self,
        state: TransformerState,
        x_BE: Float[Array, "B E"],
        source: Source,
        noise: Noise | None = None,
    ) -> tuple[TransformerState, Float[Array, "B H"]]:
        room, at = state.caches[0].keys_BNPD.shape[2], state.attention.step
        if not room:
            raise ValueError("a step needs room for its keys: decoder.start(memory, positions=T)")
        seen_11P = (jnp.arange(room) <= at)[None, None]
        x_B1H, caches, alignment_B1NS = self._layers(
            state, source, x_BE[:, None], at[None], seen_11P, noise, state.caches
        )
        attention = state.attention._replace(alignment_BNS=alignment_B1NS[:, 0], step=at + 1)
        return TransformerState(caches, attention), x_B1H[:, 0]

    def forced(
        self,
        state: TransformerState,
        source: Source,
        x_BTE: Float[Array, "B T E"],
        noise: Noise | None = None,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B T N S"]]:
        """All steps in one pass. `state` is that of `start`."""
        position_T = jnp.arange(x_BTE.shape[1])
        seen_1TT = (position_T[None] <= position_T[:, None])[None]
        none = (None,) * len(self.stack.layers)
        readout_BTH, _, alignment_BTNS = self._layers(
            state, source, x_BTE, position_T, seen_1TT, noise, none
        )
        return readout_BTH, alignment_BTNS

    def _layers(self, state, source, x_BTE, position_T, seen, noise, caches):
        """(readouts, caches to come, the last layer's alignments)."""
        stack = self.stack
        where = Where(position_T, stack.positions, seen)
        x_BTH, new = stack.enter(x_BTE, position_T, noise), []
        for index, layer in enumerate(stack.layers):
            x_BTH, cache, alignment_BTNS = layer.decode(
                x_BTH,
                where,
                stack.at_layer(noise, index),
                caches[index],
                source.keys[index],
                state.attention,
            )
            new.append(cache)
        return stack.leave(x_BTH), tuple(new), alignment_BTNS
