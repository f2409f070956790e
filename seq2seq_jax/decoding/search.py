"""Search over a decoder step: from a source to a hypothesis."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from seq2seq_jax.models.decoders import DecoderState
from seq2seq_jax.models.layers import argmax
from seq2seq_jax.models.seq2seq import Seq2Seq
from seq2seq_jax.types import BOS, EOS, PAD


class Hypotheses(NamedTuple):
    """Tokens (EOS last unless a limit cut it off, then PAD), sum of log probabilities, weights."""

    token_BT: Int[Array, "B T"]
    score_B: Float[Array, " B"]
    alignment_BTNS: Float[Array, "B T N S"]


class _Loop(NamedTuple):
    step: Int[Array, ""]
    state: DecoderState
    last_B: Int[Array, " B"]
    ended_B: Bool[Array, " B"]
    found: Hypotheses


def greedy(
    model: Seq2Seq,
    source_BS: Int[Array, "B S"],
    limit_B: Int[Array, " B"],
    temperature: Float[Array, ""] | None = None,
    *,
    positions: int,
) -> Hypotheses:
    """The likeliest token at each step, until EOS or the row's own limit of tokens.

    The loop ends when every row has ended. `positions` is the room for the longest hypothesis: no
    limit may exceed it. Rows that are all padding end at once. PAD and BOS are never chosen.
    `temperature` is the attention's, the model's own if None.
    """
    memory = model.encoder(source_BS)
    state, source = model.decoder.start(memory, temperature, positions=positions)
    batch = source_BS.shape[0]
    never_V = jnp.zeros(model.decoder.output_bias.shape[0]).at[jnp.array([PAD, BOS])].set(-jnp.inf)

    def goes_on(loop: _Loop):
        return ~jnp.all(loop.ended_B) & (loop.step < positions)

    def advance(loop: _Loop) -> _Loop:
        state, readout_BH = model.decoder.step(
            loop.state, model.decoder.embedding(loop.last_B), source
        )
        logits_BV = model.decoder.logits(readout_BH)
        best_B = argmax(logits_BV + never_V[None]).astype(source_BS.dtype)
        token_B = jnp.where(loop.ended_B, PAD, best_B)
        logit_B = jnp.take_along_axis(logits_BV, best_B[:, None], axis=-1)[:, 0]
        gain_B = logit_B - jax.nn.logsumexp(logits_BV, axis=-1)  # log p, without all the others
        weight_BNS = jnp.where(loop.ended_B[:, None, None], 0.0, state.attention.alignment_BNS)
        found = Hypotheses(
            loop.found.token_BT.at[:, loop.step].set(token_B),
            loop.found.score_B + jnp.where(loop.ended_B, 0.0, gain_B),
            loop.found.alignment_BTNS.at[:, loop.step].set(weight_BNS),
        )
        ended_B = loop.ended_B | (token_B == EOS) | (loop.step + 1 >= limit_B)
        return _Loop(loop.step + 1, state, best_B, ended_B, found)

    start = _Loop(
        jnp.int32(0),
        state,
        jnp.full(batch, BOS, source_BS.dtype),
        ~jnp.any(source.valid_BS, axis=1) | (limit_B < 1),
        Hypotheses(
            jnp.full((batch, positions), PAD, source_BS.dtype),
            jnp.zeros(batch),
            jnp.zeros((batch, positions, *state.attention.alignment_BNS.shape[1:])),
        ),
    )
    return jax.lax.while_loop(goes_on, advance, start).found
