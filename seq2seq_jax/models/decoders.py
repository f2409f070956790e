"""The recurrent decoder: one step at a time, with attention before or after the update."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from seq2seq_jax.models.attention.mechanism import Attention, FixedContext, Source
from seq2seq_jax.models.attention.scores import AttentionState
from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.models.layers import Dropout, Embedding, Linear, add_bias, drop
from seq2seq_jax.models.recurrent import Carry, make_cell
from seq2seq_jax.rng import named


class DecoderState(NamedTuple):
    """Everything that one step hands to the next.

    `top_BH` is the output of the top layer, after residual and dropout: the query that the order
    `bahdanau` compares at the next step is the one that `luong` compared at this one.
    """

    carries: tuple[Carry, ...]
    top_BH: Float[Array, "B H"]
    attentional_BH: Float[Array, "B H"]
    attention: AttentionState


class InitialState(nnx.Module):
    """The decoder's first carries: `zero`, `last` (the encoder's, layer by layer) or `bridge`.

    bridge: tanh(W summary + b) for each layer and carry entry (Bahdanau et al. 2015, A.2.2, with
    the summary of both directions), so that it fits any pair of cells and widths.
    """

    def __init__(self, config, memory: int, *, key: Key[Array, ""]):
        self.kind = config.decoder.initial_state
        self.bridges = nnx.List([])
        if self.kind == "bridge":
            entries = 2 if config.decoder.cell == "lstm" else 1
            for layer in range(config.decoder.layers):
                self.bridges.append(
                    nnx.List(
                        Linear(
                            memory,
                            config.decoder.width,
                            key=named(key, f"layer{layer}/{entry}"),
                            dtype=config.dtype,
                        )
                        for entry in range(entries)
                    )
                )

    def __call__(self, cells, memory: Memory) -> tuple[Carry, ...]:
        if self.kind == "zero":
            return tuple(cell.start(memory.summary_BM.shape[0]) for cell in cells)
        if self.kind == "last":
            return memory.final
        return tuple(
            tuple(jnp.tanh(bridge(memory.summary_BM)) for bridge in layer) for layer in self.bridges
        )


class RecurrentDecoder(nnx.Module):
    """Luong's and Bahdanau's decoders, as one switch.

    luong:     h_t = f(h_{t-1}, x_t),       c_t = attend(h_t)
    bahdanau:  c_t = attend(h_{t-1}),       h_t = f(h_{t-1}, [x_t; c_t])
    both:      attentional_t = tanh(W_c [c_t; h_t]) (Luong et al. 2015, eq. 5),
               logits_t = W_s attentional_t (eq. 6)

    x_t is the embedded token, joined to attentional_{t-1} with input feeding (Luong, 3.3). The
    readout is the same in both orders, so the order is all that differs; Bahdanau's own maxout
    readout is not used. A fixed context that is joined to every input is fed to the update.
    """

    def __init__(
        self, config, embedding: Embedding, memory: int, vocabulary: int, *, key: Key[Array, ""]
    ):
        decoder, score = config.decoder, config.attention.score
        width, dtype = decoder.width, config.dtype
        if score == "none":
            self.attention = FixedContext(config.attention.fixed_context, memory)
        else:
            self.attention = Attention(
                config.attention, width, memory, key=named(key, "attention"), dtype=dtype
            )
        context = self.attention.context_width
        self.attend_first = decoder.order == "bahdanau" or score == "none"
        self.input_feeding = decoder.input_feeding
        self.residual = decoder.residual
        self.same_over_time = config.dropout.same_over_time
        self.embedding = embedding
        inputs = config.embedding + self.attend_first * context + self.input_feeding * width
        self.cells = nnx.List(
            make_cell(
                decoder.cell,
                inputs if layer == 0 else width,
                width,
                key=named(key, f"layer{layer}"),
                dtype=dtype,
                forget_bias=config.forget_bias,
            )
            for layer in range(decoder.layers)
        )
        self.initial_state = InitialState(config, memory, key=named(key, "initial_state"))
        self.combine = Linear(
            context + width, width, key=named(key, "combine"), dtype=dtype, bias=False
        )
        self.output = (
            Linear(width, vocabulary, key=named(key, "output"), dtype=dtype, bias=False)
            if config.tied_embeddings == "none"
            else None  # the embedding scores
        )
        self.output_bias = nnx.Param(jnp.zeros(vocabulary))
        self.width = width

    def start(self, memory: Memory) -> tuple[DecoderState, Source]:
        """The state before the first token, and what every step looks at."""
        batch, positions = memory.valid_BS.shape
        carries = self.initial_state(self.cells, memory)
        state = DecoderState(
            carries,
            carries[-1][0],
            jnp.zeros((batch, self.width)),
            AttentionState(jnp.zeros((batch, positions)), jnp.int32(0)),
        )
        return state, self.attention.prepare(memory)

    def step(
        self,
        state: DecoderState,
        token_B: Int[Array, " B"],
        source: Source,
        dropout: Dropout | None = None,
    ) -> tuple[DecoderState, Float[Array, "B H"]]:
        """Feeds one token; gives the next state and the readout that `logits` turns into scores."""
        if dropout is not None and not self.same_over_time:
            dropout = dropout.at(state.attention.step)
        x = self.embedding(token_B)
        if dropout is not None:
            x = drop(x, dropout.input, dropout.at("decoder/input").key)
        if self.input_feeding:
            x = jnp.concatenate([x, state.attentional_BH], axis=-1)
        if self.attend_first:
            context_BM, alignment_BS = self.attention(state.top_BH, source, state.attention)
            x = jnp.concatenate([x, context_BM], axis=-1)
        carries = []
        for layer, cell in enumerate(self.cells):
            carries.append(cell(state.carries[layer], x))
            h_BH = carries[-1][0]
            if dropout is not None:
                h_BH = drop(h_BH, dropout.output, dropout.at(f"decoder/layer{layer}").key)
            x = x + h_BH if self.residual and layer > 0 else h_BH
        if not self.attend_first:
            context_BM, alignment_BS = self.attention(x, source, state.attention)
        attentional_BH = jnp.tanh(self.combine(jnp.concatenate([context_BM, x], axis=-1)))
        attention = AttentionState(alignment_BS, state.attention.step + 1)
        readout_BH = attentional_BH
        if dropout is not None:
            readout_BH = drop(readout_BH, dropout.output, dropout.at("decoder/readout").key)
        return DecoderState(tuple(carries), x, attentional_BH, attention), readout_BH

    def logits(self, readout: Float[Array, "*N H"]) -> Float[Array, "*N V"]:
        """Unnormalised log probabilities of the next token."""
        scores = self.embedding.attend(readout) if self.output is None else self.output(readout)
        return add_bias(scores, self.output_bias[...])
