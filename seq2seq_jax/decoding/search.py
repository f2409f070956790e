"""One path through a decoder: at each step one token, the likeliest or a drawn one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from seq2seq_jax.decoding.predictor import Predictor
from seq2seq_jax.decoding.shrinking import first_axes, until_done
from seq2seq_jax.models.layers import argmax
from seq2seq_jax.types import BOS, EOS, PAD


class Hypotheses(NamedTuple):
    """What a search found: of each source the N best, best first.

    Tokens end in EOS, unless a limit cut them off, and are filled up with PAD. `score_BN` is what
    they are ranked by, `log_p_BN` the sum of their tokens' log probabilities: the same without
    penalties. An alignment is the mean over heads.
    """

    token_BNT: Int[Array, "B N T"]
    score_BN: Float[Array, "B N"]
    log_p_BN: Float[Array, "B N"]
    alignment_BNTS: Float[Array, "B N T S"]


class Sampling(NamedTuple):
    """What a token is drawn from: p(v)^(1/temperature), of the `top_k` likeliest tokens (0: all),
    and of these the fewest, likeliest first, that have at least `top_p` of the mass (1: all).

    Fan et al. 2018 (top k), Holtzman et al. 2020 (top p). All are traced.
    """

    temperature: Float[Array, ""]
    top_k: Int[Array, ""]
    top_p: Float[Array, ""]


class _Loop(NamedTuple):
    step: Int[Array, ""]
    states: tuple
    last_B: Int[Array, " B"]
    done_B: Bool[Array, " B"]
    token_BT: Int[Array, "B T"]
    log_p_B: Float[Array, " B"]
    alignment_BTS: Float[Array, "B T S"]


class _Given(NamedTuple):
    """What stays as it is; `of_choice` is for the choice of tokens."""

    sources: tuple
    limit_B: Int[Array, " B"]
    of_choice: Any


Choice = Callable[[Float[Array, "B V"], Int[Array, ""], Any], Int[Array, " B"]]


def greedy(
    predictor: Predictor,
    source_BS: Int[Array, "B S"],
    limit_B: Int[Array, " B"],
    temperature: Float[Array, ""] | None = None,
    *,
    positions: int,
) -> Hypotheses:
    """The likeliest token at each step, until EOS or the row's own limit of tokens.

    The loop ends when every row has ended. `positions` is the room for the longest hypothesis: no
    limit may exceed it. Rows that are all padding end at once. `temperature` is the attention's,
    the model's own if None.
    """

    def choose(logit_BV, step, nothing):
        return argmax(logit_BV)

    return _follow(predictor, source_BS, limit_B, temperature, positions, choose, None)


def sample(
    predictor: Predictor,
    source_BS: Int[Array, "B S"],
    limit_B: Int[Array, " B"],
    sampling: Sampling,
    key_B: Key[Array, " B"],
    temperature: Float[Array, ""] | None = None,
    *,
    positions: int,
) -> Hypotheses:
    """A token drawn at each step; the rest as `greedy`.

    Each row has a key of its own, so that what is drawn depends on no other row. `log_p_BN` is
    that of the model, whatever it was drawn from.
    """

    def choose(logit_BV, step, key_B):
        keys = jax.vmap(jax.random.fold_in, (0, None))(key_B, step)
        return jax.vmap(jax.random.categorical)(keys, shape_distribution(logit_BV, sampling))

    return _follow(predictor, source_BS, limit_B, temperature, positions, choose, key_B)


def shape_distribution(logit_BV: Float[Array, "B V"], sampling: Sampling) -> Float[Array, "B V"]:
    """The log probabilities, up to a constant, that `sampling` draws from; -inf for the rest."""
    whole = (sampling.top_k == 0) & (sampling.top_p >= 1)  # then nothing has to be sorted
    logit_BV = logit_BV / sampling.temperature
    return jax.lax.cond(whole, lambda x, _: x, _cut, logit_BV, sampling)


def _cut(logit_BV: Float[Array, "B V"], sampling: Sampling) -> Float[Array, "B V"]:
    order_BV = jnp.argsort(-logit_BV, axis=-1)  # stable: of equals the first comes first
    rank_BV = jnp.argsort(order_BV, axis=-1)
    kept_BV = (rank_BV < sampling.top_k) | (sampling.top_k == 0)
    logit_BV = jnp.where(kept_BV, logit_BV, -jnp.inf)
    sorted_BV = jnp.take_along_axis(jax.nn.softmax(logit_BV), order_BV, axis=-1)
    before_BV = jnp.cumsum(sorted_BV, axis=-1) - sorted_BV
    inside_BV = (before_BV < sampling.top_p) | (sampling.top_p >= 1)
    kept_BV = jnp.take_along_axis(inside_BV, rank_BV, axis=-1)
    return jnp.where(kept_BV, logit_BV, -jnp.inf)


def log_probability(logit_BV: Float[Array, "B V"], token_B: Int[Array, " B"]) -> Float[Array, " B"]:
    """log p of one token a row, without those of all the others."""
    logit_B = jnp.take_along_axis(logit_BV, token_B[:, None], axis=-1)[:, 0]
    return logit_B - jax.nn.logsumexp(logit_BV, axis=-1)


def _follow(
    predictor: Predictor,
    source_BS,
    limit_B,
    temperature,
    positions: int,
    choose: Choice,
    of_choice: Any,
) -> Hypotheses:
    states, sources = predictor.start(source_BS, temperature, positions)
    batch, width = source_BS.shape

    def advance(loop: _Loop, given: _Given) -> _Loop:
        states, logit_BV, alignment_BS = predictor(loop.states, loop.last_B, given.sources)
        allowed_BV = logit_BV + predictor.never_V[None]
        chosen_B = choose(allowed_BV, loop.step, given.of_choice).astype(source_BS.dtype)
        token_B = jnp.where(loop.done_B, PAD, chosen_B)
        gain_B = log_probability(logit_BV, chosen_B)
        return _Loop(
            loop.step + 1,
            states,
            chosen_B,
            loop.done_B | (token_B == EOS) | (loop.step + 1 >= given.limit_B),
            loop.token_BT.at[:, loop.step].set(token_B),
            loop.log_p_B + jnp.where(loop.done_B, 0.0, gain_B),
            loop.alignment_BTS.at[:, loop.step].set(
                jnp.where(loop.done_B[:, None], 0.0, alignment_BS)
            ),
        )

    start = _Loop(
        jnp.int32(0),
        states,
        jnp.full(batch, BOS, source_BS.dtype),
        jnp.all(source_BS == PAD, axis=1) | (limit_B < 1),
        jnp.full((batch, positions), PAD, source_BS.dtype),
        jnp.zeros(batch),
        jnp.zeros((batch, positions, width)),
    )
    given = _Given(sources, limit_B, of_choice)

    def axes():
        of_sources = predictor.axes_of_sources(source_BS)
        return first_axes(start), first_axes(given)._replace(sources=of_sources)

    end = until_done(advance, start, given, axes, positions)
    log_p_B1 = end.log_p_B[:, None]
    return Hypotheses(end.token_BT[:, None], log_p_B1, log_p_B1, end.alignment_BTS[:, None])
