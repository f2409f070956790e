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


def reverse_valid(ids_BS: Int[Array, "B S"], valid_BS: Bool[Array, "B S"]) -> Int[Array, "B S"]:
    """Reverses the words of each row; the end token and the padding stay where they are."""
    words_B1 = valid_BS.sum(axis=1, keepdims=True) - 1
    position_BS = jnp.broadcast_to(jnp.arange(ids_BS.shape[1]), ids_BS.shape)
    mirrored_BS = jnp.where(position_BS < words_B1, words_B1 - 1 - position_BS, position_BS)
    return jnp.take_along_axis(ids_BS, mirrored_BS, axis=1)


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
        ids_BS = reverse_valid(source_BS, valid_BS) if self.reverse_source else source_BS
        x_BSD = self.embedding(ids_BS)
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
        if self.reverse_source:
            # Position s of the memory stays source word s, for alignments and pictures.
            positions_BS = jnp.broadcast_to(jnp.arange(source_BS.shape[1]), source_BS.shape)
            order_BS = reverse_valid(positions_BS, valid_BS)
            x_BSD = jnp.take_along_axis(x_BSD, order_BS[..., None], axis=1)
        return Memory(x_BSD, valid_BS, tuple(final), final[-1][0])
