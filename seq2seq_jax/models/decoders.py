"""What every decoder shares, and the recurrent one, with attention before or after the update."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from seq2seq_jax.models.attention.mechanism import Source, all_steps, make_attention
from seq2seq_jax.models.attention.scores import AttentionState
from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.models.layers import (
    Embedding,
    Linear,
    Noise,
    OutputLayer,
    drop_at,
    product,
    sigmoid,
    tanh,
)
from seq2seq_jax.models.recurrent import CELLS, Carry, make_cell, unroll
from seq2seq_jax.rng import named


@runtime_checkable
class DecoderState(Protocol):
    """Everything that one step hands to the next: a NamedTuple of arrays, whatever the decoder."""

    @property
    def attention(self) -> AttentionState: ...


class Decoder(nnx.Module):
    """The target's embedding and the output layer; a step is the business of each decoder.

    `start` and then `step` by step, or `forced` where all inputs are known; `logits` scores what
    either gives.
    """

    def __init__(self, config, embedding: Embedding, vocabulary: int, *, key: Key[Array, ""]):
        self.width = config.decoder.width
        self.attends = config.attention.score != "none"
        self.same_over_time = config.dropout.same_over_time
        self.temperature = config.attention.temperature
        self.embedding = embedding
        self.output = (
            Linear(self.width, vocabulary, key=named(key, "output"), dtype=config.dtype, bias=False)
            if config.tied_embeddings == "none"
            else None  # the embedding scores
        )
        self.output_bias = nnx.Param(jnp.zeros(vocabulary))

    def start(
        self, memory: Memory, temperature: Float[Array, ""] | None = None, positions: int = 0
    ) -> tuple[Any, Source]:
        """The state before the first token, and what every step looks at.

        `temperature` divides the scores; the config's if None, traced where it is given.
        `positions` is how many steps will be taken at most: room for what a decoder keeps of each.
        """
        raise TypeError(f"{type(self).__name__} is an abstract decoder")

    def step(
        self,
        state: Any,
        x_BE: Float[Array, "B E"],
        source: Source,
        noise: Noise | None = None,
    ) -> tuple[Any, Float[Array, "B H"]]:
        """Feeds one embedded token; gives the next state and the readout that `logits` scores."""
        raise TypeError(f"{type(self).__name__} is an abstract decoder")

    def forced(
        self,
        state: Any,
        source: Source,
        x_BTE: Float[Array, "B T E"],
        noise: Noise | None = None,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B T N S"]]:
        """Readouts and alignments of all steps, where all that is fed is known before."""

        def step(state, x_BE):
            state, readout_BH = self.step(state, x_BE, source, noise)
            return state, (readout_BH, state.attention.alignment_BNS)

        _, (readout_TBH, alignment_TBNS) = jax.lax.scan(step, state, x_BTE.swapaxes(0, 1))
        return readout_TBH.swapaxes(0, 1), alignment_TBNS.swapaxes(0, 1)

    def _temperature(self, given: Float[Array, ""] | None) -> Float[Array, ""]:
        return jnp.float32(self.temperature) if given is None else given

    def output_layer(self) -> OutputLayer:
        """What makes logits of a readout."""
        tied = self.output is None
        kernel_HV = self.embedding.kernel() if tied else self.output.kernel[...]
        return OutputLayer(kernel_HV, self.output_bias[...], self.embedding.dtype)

    def logits(self, readout: Float[Array, "*N H"]) -> Float[Array, "*N V"]:
        """Unnormalised log probabilities of the next token."""
        return self.output_layer()(readout)


class RecurrentState(NamedTuple):
    """Carries of all layers, and what attention and input feeding remember.

    `outputs` holds each layer's output, after residual and dropout: the query that the orders
    `bahdanau` and `gnmt` compare at the next step is among them.
    """

    carries: tuple[Carry, ...]
    outputs: tuple[Float[Array, "B H"], ...]
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
            entries = CELLS[config.decoder.cell].carries
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
            tuple(tanh(bridge(memory.summary_BM)) for bridge in layer) for layer in self.bridges
        )


class RecurrentDecoder(Decoder):
    """Luong's, Bahdanau's and GNMT's decoders, as one switch.

    luong:     h_t = f(h_{t-1}, x_t),       c_t = attend(h_t)
    bahdanau:  c_t = attend(h_{t-1}),       h_t = f(h_{t-1}, [x_t; c_t])
    gnmt:      c_t = attend(h^1_{t-1}),     h^l_t = f(h^l_{t-1}, [h^{l-1}_t; c_t]), h^0_t = x_t
    all:       attentional_t = tanh(W_c [c_t; h_t]) (Luong et al. 2015, eq. 5),
               logits_t = W_s attentional_t (eq. 6)

    h is the output of the top layer and h^1 that of the lowest: GNMT attends with the lowest layer
    and hands the context to every layer (Wu et al. 2016, section 3 and figure 1), so that with one
    layer it is bahdanau. x_t is the embedded token, joined to attentional_{t-1} with input feeding
    (Luong, 3.3). The readout is the same in all orders, so the order is all that differs;
    Bahdanau's own maxout readout is not used. A fixed context that is joined to every input is fed
    to the update.

    `context_gate` (Tu et al. 2017) weighs the two parts of the readout, W_c = [W_1; W_2]:
    z = sigmoid(W_z [x_t; h_t; c_t] + b_z), and tanh(g_1 W_1 c_t + g_2 W_2 h_t) with (g_1, g_2) =
    (z, 1) for source, (1, z) for target and (z, 1 - z) for both.
    """

    def __init__(
        self, config, embedding: Embedding, memory: int, vocabulary: int, *, key: Key[Array, ""]
    ):
        super().__init__(config, embedding, vocabulary, key=key)
        decoder, score = config.decoder, config.attention.score
        width, dtype = decoder.width, config.dtype
        self.attention = make_attention(config, width, memory, key=named(key, "attention"))
        context = self.attention.context_width
        self.order = "bahdanau" if score == "none" else decoder.order
        self.input_feeding = decoder.input_feeding
        self.residual = decoder.residual
        inputs = config.embedding + self.input_feeding * width
        self.cells = nnx.List(
            make_cell(
                decoder.cell,
                (inputs if layer == 0 else width) + self._fed(layer) * context,
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
        self.gated = decoder.context_gate
        self.gate = (
            Linear(inputs + width + context, width, key=named(key, "gate"), dtype=dtype)
            if self.gated != "none"
            else None
        )

    def _fed(self, layer: int) -> bool:
        """Whether the update of this layer sees the context."""
        return self.order == "gnmt" or (self.order == "bahdanau" and layer == 0)

    def start(
        self, memory: Memory, temperature: Float[Array, ""] | None = None, positions: int = 0
    ) -> tuple[RecurrentState, Source]:
        """See `Decoder`; a recurrent state has one size, however many steps are taken."""
        temperature = self._temperature(temperature)
        carries = self.initial_state(self.cells, memory)
        state = RecurrentState(
            carries,
            tuple(carry[0] for carry in carries),
            jnp.zeros((memory.valid_BS.shape[0], self.width)),
            self.attention.start(memory.valid_BS),
        )
        return state, self.attention.prepare(memory, temperature)

    def step(
        self,
        state: RecurrentState,
        x_BE: Float[Array, "B E"],
        source: Source,
        noise: Noise | None = None,
    ) -> tuple[RecurrentState, Float[Array, "B H"]]:
        step = state.attention.step

        def drop(kind, name, x_BD):
            return self._drop(noise, kind, name, x_BD[:, None], step[None])[:, 0]

        x_BE = drop(Noise.drop_input, "input", x_BE)
        fed = jnp.concatenate([x_BE, state.attentional_BH], -1) if self.input_feeding else x_BE
        if self.order != "luong":
            query_BH = state.outputs[0 if self.order == "gnmt" else -1]
            context_BM, attention = self.attention(query_BH, source, state.attention, noise)
        carries = []

        def advance(layer, x):
            inputs = jnp.concatenate([x, context_BM], axis=-1) if self._fed(layer) else x
            carries.append(self.cells[layer](state.carries[layer], inputs))
            return carries[-1][0]

        outputs = self._layers(advance, fed, drop)
        if self.order == "luong":
            context_BM, attention = self.attention(outputs[-1], source, state.attention, noise)
        attentional_BH = self._combine(fed, outputs[-1], context_BM)
        readout_BH = drop(Noise.drop_output, "readout", attentional_BH)
        return RecurrentState(tuple(carries), outputs, attentional_BH, attention), readout_BH

    def forced(
        self,
        state: RecurrentState,
        source: Source,
        x_BTE: Float[Array, "B T E"],
        noise: Noise | None = None,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B T N S"]]:
        """See `Decoder`. All steps attend and make their readouts together where no step needs
        what the one before has made of its context; the layers are then unrolled one by one."""
        if not self.attends_apart():
            return super().forced(state, source, x_BTE, noise)
        step_T = state.attention.step + jnp.arange(x_BTE.shape[1])

        def drop(kind, name, x_BTD):
            return self._drop(noise, kind, name, x_BTD, step_T)

        def advance(layer, x_BTD):
            return unroll(self.cells[layer], x_BTD, start=state.carries[layer])[1]

        x_BTE = drop(Noise.drop_input, "input", x_BTE)
        h_BTH = self._layers(advance, x_BTE, drop)[-1]
        context_BTM, alignment_BTNS = all_steps(
            self.attention, h_BTH, source, state.attention, noise
        )
        attentional_BTH = self._combine(x_BTE, h_BTH, context_BTM)
        return drop(Noise.drop_output, "readout", attentional_BTH), alignment_BTNS

    def attends_apart(self) -> bool:
        """Whether the states of all steps are known before any of them attends, gold being fed."""
        return self.order == "luong" and not self.input_feeding and self.attention.independent

    def _layers(self, advance, x, drop) -> tuple[Float[Array, "*N H"], ...]:
        """Each layer's output, where `advance(layer, x)` gives that of its cell."""
        outputs = []
        for layer in range(len(self.cells)):
            h = drop(Noise.drop_output, f"layer{layer}", advance(layer, x))
            x = x + h if self.residual and layer > 0 else h
            outputs.append(x)
        return tuple(outputs)

    def _drop(self, noise, kind, name, x_BTD, step_T) -> Float[Array, "B T D"]:
        if noise is None:
            return x_BTD
        return drop_at(noise.at(f"decoder/{name}"), kind, x_BTD, step_T, self.same_over_time)

    def _combine(self, x, h, context) -> Float[Array, "*N H"]:
        if self.gate is None:
            return tanh(self.combine(jnp.concatenate([context, h], axis=-1)))
        z = sigmoid(self.gate(jnp.concatenate([x, h, context], axis=-1)))
        kernel, width = self.combine.kernel[...], context.shape[-1]
        of_context = product(context, kernel[:width], self.combine.dtype)
        of_state = product(h, kernel[width:], self.combine.dtype)
        gates = {"source": (z, 1.0), "target": (1.0, z), "both": (z, 1 - z)}
        of_context_gate, of_state_gate = gates[self.gated]
        return tanh(of_context_gate * of_context + of_state_gate * of_state)
