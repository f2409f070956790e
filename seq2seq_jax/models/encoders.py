"""The memory that every encoder gives, and the recurrent encoder: source ids in, memory out."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from seq2seq_jax.models import cudnn, recurrent
from seq2seq_jax.models.layers import Embedding, Noise
from seq2seq_jax.models.recurrent import Carry, make_cell
from seq2seq_jax.rng import named
from seq2seq_jax.types import PAD


class Memory(NamedTuple):
    """The source as the decoder gets it.

    Of a recurrent encoder, `final` holds the last carry of every layer (forward and backward side
    by side), `summary_BM` the output part of the top one. A Transformer has no carries; its summary
    is the mean of its memory.
    """

    memory_BSM: Float[Array, "B S M"]
    valid_BS: Bool[Array, "B S"]
    final: tuple[Carry, ...]
    summary_BM: Float[Array, "B M"]


def reversed_order(valid_BS: Bool[Array, "B S"]) -> Int[Array, "B S"]:
    """Where to take each position from: words in reverse, end token and padding as they are. It
    undoes itself."""
    words_B1 = valid_BS.sum(axis=1, keepdims=True) - 1
    position_S = jnp.arange(valid_BS.shape[1])[None]
    return jnp.where(position_S < words_B1, words_B1 - 1 - position_S, position_S)


class RecurrentEncoder(nnx.Module):
    """Layers of a recurrent cell, one or both directions (Schuster & Paliwal 1997).

    The kernel `cudnn` is a scan where there is no CUDA device, so that a model that was trained
    with it runs anywhere.
    """

    def __init__(self, config, embedding: Embedding, *, key: Key[Array, ""]):
        encoder = config.encoder
        self.embedding = embedding
        self.directions = ("forward", "backward") if encoder.bidirectional else ("forward",)
        self.width = encoder.width * len(self.directions)
        self.kernel = encoder.kernel
        self.residual = encoder.residual
        self.reverse_source = encoder.reverse_source
        self.same_over_time = config.dropout.same_over_time
        self.layers = nnx.List([])
        for layer in range(encoder.layers):
            inputs = config.embedding if layer == 0 else self.width
            self.layers.append(
                nnx.List(
                    make_cell(
                        encoder.cell,
                        inputs,
                        encoder.width,
                        key=named(key, f"layer{layer}/{direction}"),
                        dtype=config.dtype,
                        forget_bias=config.forget_bias,
                    )
                    for direction in self.directions
                )
            )

    def __call__(self, source_BS: Int[Array, "B S"], noise: Noise | None = None) -> Memory:
        valid_BS = source_BS != PAD
        order_BS = reversed_order(valid_BS) if self.reverse_source else None
        if order_BS is not None:
            source_BS = jnp.take_along_axis(source_BS, order_BS, axis=1)
        x_BSD = self.embedding(source_BS)
        if noise is not None:
            at_input = noise.at("encoder/input")
            x_BSD = at_input.drop_input(x_BSD, over_time=self.same_over_time)
        on_gpu = self.kernel == "cudnn" and cudnn.available()
        unroll_layer = cudnn.unroll_layer if on_gpu else recurrent.unroll_layer
        final = []
        for layer, cells in enumerate(self.layers):
            carry, h_BSM = unroll_layer(cells, x_BSD, valid_BS)
            final.append(carry)
            if noise is not None:
                at_layer = noise.at(f"encoder/layer{layer}")
                h_BSM = at_layer.drop_output(h_BSM, over_time=self.same_over_time)
            x_BSD = x_BSD + h_BSM if self.residual and layer > 0 else h_BSM
        if order_BS is not None:
            # Position s of the memory stays source word s, for alignments and pictures.
            x_BSD = jnp.take_along_axis(x_BSD, order_BS[..., None], axis=1)
        return Memory(x_BSD, valid_BS, tuple(final), final[-1][0])
