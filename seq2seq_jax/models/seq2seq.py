"""Encoder and decoder as one model, and its split into structure and parameters."""

import functools

import jax
from flax import nnx
from jaxtyping import Array, Key

from seq2seq_jax.models.decoders import Decoder, RecurrentDecoder
from seq2seq_jax.models.encoders import RecurrentEncoder
from seq2seq_jax.models.layers import Embedding
from seq2seq_jax.models.transformer import TransformerDecoder, TransformerEncoder
from seq2seq_jax.rng import named

ENCODERS = {"recurrent": RecurrentEncoder, "transformer": TransformerEncoder}
DECODERS = {"recurrent": RecurrentDecoder, "transformer": TransformerDecoder}


class Seq2Seq(nnx.Module):
    """`encoder(source_BS) -> Memory`; `decoder.start`, `decoder.step`, `decoder.logits`."""

    def __init__(self, encoder: RecurrentEncoder | TransformerEncoder, decoder: Decoder):
        self.encoder = encoder
        self.decoder = decoder


def build(config, source_size: int, target_size: int, key: Key[Array, ""]) -> Seq2Seq:
    """The model that `config` (the `model` part) describes, for vocabularies of these sizes."""
    embedding = functools.partial(Embedding, width=config.embedding, dtype=config.dtype)
    target = embedding(target_size, key=named(key, "target_embedding"))
    if config.tied_embeddings == "all":
        source = target
    else:
        source = embedding(source_size, key=named(key, "source_embedding"))
    encoder = ENCODERS[config.encoder.kind](config, source, key=named(key, "encoder"))
    decoder = DECODERS[config.decoder.kind](
        config, target, encoder.width, target_size, key=named(key, "decoder")
    )
    return Seq2Seq(encoder, decoder)


def initialize(config, source_size: int, target_size: int, key: Key[Array, ""]):
    """(graphdef, params): the structure, and the initial parameters as a dict of arrays."""
    graphdef, draw = initializer(config, source_size, target_size)
    return graphdef, draw(key)


def initializer(config, source_size: int, target_size: int):
    """(graphdef, draw): the structure, and the function that draws the parameters of a key.

    One compiled program draws all parameters; creating them one by one costs seconds.
    """

    create = functools.partial(build, config, source_size, target_size)
    graphdef, _ = nnx.split(nnx.eval_shape(create, jax.random.key(0)), nnx.Param)
    return graphdef, jax.jit(lambda key: nnx.to_pure_dict(nnx.state(create(key), nnx.Param)))


def count_parameters(params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
