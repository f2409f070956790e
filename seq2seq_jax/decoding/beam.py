"""Beam search: the K best hypotheses of each source grow together.

At each step the K best continuations of a source's live hypotheses are kept; those that end go into
the pool of its N best, the others live on, fewer than K until the next step. So one beam is greedy
search, whatever the penalties. A source is done as soon as no live hypothesis can come to a score
that would enter the pool, which a length penalty makes later than the first K ends.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from seq2seq_jax.decoding.penalties import Ranking, block_ngrams, coverage_penalty, length_penalty
from seq2seq_jax.decoding.predictor import Prediction, Predictor
from seq2seq_jax.decoding.search import Hypotheses
from seq2seq_jax.decoding.shrinking import first_axes, until_done
from seq2seq_jax.decoding.topk import top_k
from seq2seq_jax.types import BOS, EOS, PAD


class History(NamedTuple):
    """Hypotheses (live ones: K; ended ones: N): tokens so far, and in which slot of the beam each
    step found them. The slots tell in the end whose alignments to gather."""

    token_BKT: Int[Array, "B K T"]
    slot_BKT: Int[Array, "B K T"]


class _Live(NamedTuple):
    """The beam; -inf is the log probability of a slot where nothing lives."""

    states: tuple
    last_BK: Int[Array, "B K"]
    log_p_BK: Float[Array, "B K"]
    coverage_BKS: Float[Array, "B K S"]
    history: History


class _Pool(NamedTuple):
    """The best ended hypotheses, best first; -inf is the score of an empty place."""

    score_BN: Float[Array, "B N"]
    log_p_BN: Float[Array, "B N"]
    history: History


class _Loop(NamedTuple):
    step: Int[Array, ""]
    done_B: Bool[Array, " B"]
    live: _Live
    pool: _Pool
    alignment_TBKS: Float[Array, "T B K S"]  # of each step, by slot


class _Given(NamedTuple):
    """What stays as it is."""

    sources: tuple
    limit_B: Int[Array, " B"]
    valid_BS: Bool[Array, "B S"]


def beam_search(
    predictor: Predictor,
    source_BS: Int[Array, "B S"],
    limit_B: Int[Array, " B"],
    ranking: Ranking,
    temperature: Float[Array, ""] | None = None,
    *,
    positions: int,
    beam: int,
    best: int,
    ngram: int = 0,
) -> Hypotheses:
    """The `best` hypotheses of each source, of a search with `beam` live ones.

    A hypothesis ends with EOS or at the row's limit of tokens. Its score is
    log p / length penalty + coverage penalty (`penalties`). `ngram`: no hypothesis has the same
    `ngram` tokens twice; 0: it may. `positions` and `temperature` as in `greedy`. Where fewer than
    `best` hypotheses were found, the rest are PAD with score -inf.
    """
    batch, width = source_BS.shape
    states, sources = predictor.start(source_BS, temperature, positions)
    # Scalars, such as the number of the step, are those of all hypotheses.
    axes: Any = jax.tree.map(lambda leaf: 1 if leaf.ndim else None, states)
    each: Any = 1
    predict = jax.vmap(predictor, (axes, 1, None), Prediction(axes, each, each))

    def advance(loop: _Loop, given: _Given) -> _Loop:
        step, live, length = loop.step, loop.live, loop.step + 1
        rows, limit_B = len(loop.done_B), given.limit_B
        states, logit_BKV, alignment_BKS = predict(live.states, live.last_BK, given.sources)
        gain_BKV = logit_BKV - jax.nn.logsumexp(logit_BKV, axis=-1, keepdims=True)
        gain_BKV += predictor.never_V[None, None]
        gain_BKV = gain_BKV.at[:, :, EOS].add(jnp.where(length > ranking.min_length, 0.0, -jnp.inf))
        if ngram:
            gain_BKV = block_ngrams(gain_BKV, live.history.token_BKT, step, ngram)
        log_p_BK, index_BK = top_k((live.log_p_BK[..., None] + gain_BKV).reshape(rows, -1), beam)
        slot_BK, token_BK = jnp.divmod(index_BK, gain_BKV.shape[2])
        token_BK = token_BK.astype(source_BS.dtype)

        coverage_BKS = take(live.coverage_BKS + alignment_BKS, slot_BK)
        history = History(
            take(live.history.token_BKT, slot_BK).at[:, :, step].set(token_BK),
            take(live.history.slot_BKT, slot_BK).at[:, :, step].set(slot_BK),
        )
        ends_BK = (token_BK == EOS) | (length >= limit_B[:, None])
        penalty_BK = coverage_penalty(ranking, coverage_BKS, given.valid_BS)
        score_BK = log_p_BK / length_penalty(ranking, length) + penalty_BK
        ended_BK = jnp.where(ends_BK, score_BK, -jnp.inf)
        ended_BK = jnp.where(loop.done_B[:, None], -jnp.inf, ended_BK)
        pool = _enter(loop.pool, _Pool(ended_BK, log_p_BK, history))
        log_p_BK = jnp.where(ends_BK, -jnp.inf, log_p_BK)
        # Log probabilities only fall, so that the best score lies at one of the ends of what
        # lengths there may still be, and no penalty for coverage is the best one.
        shortest = length_penalty(ranking, length + 1)
        longest = length_penalty(ranking, jnp.maximum(limit_B, 1))
        best_B = log_p_BK.max(axis=1)
        bound_B = jnp.maximum(best_B / shortest, best_B / longest)
        return _Loop(
            length,
            loop.done_B | (pool.score_BN[:, -1] >= bound_B),
            _Live(
                jax.tree.map(lambda leaf: take(leaf, slot_BK) if leaf.ndim else leaf, states),
                token_BK,
                log_p_BK,
                coverage_BKS,
                history,
            ),
            pool,
            loop.alignment_TBKS.at[step].set(alignment_BKS),
        )

    def blank(count):
        zeros = jnp.zeros((batch, count, positions), source_BS.dtype)
        return History(zeros + PAD, zeros)

    def spread(leaf):
        return (
            jnp.broadcast_to(leaf[:, None], (batch, beam, *leaf.shape[1:])) if leaf.ndim else leaf
        )

    nothing_BN = jnp.full((batch, best), -jnp.inf)
    start = _Loop(
        jnp.int32(0),
        jnp.all(source_BS == PAD, axis=1) | (limit_B < 1),
        _Live(
            jax.tree.map(spread, states),
            jnp.full((batch, beam), BOS, source_BS.dtype),
            jnp.full((batch, beam), -jnp.inf).at[:, 0].set(0.0),
            jnp.zeros((batch, beam, width)),
            blank(beam),
        ),
        _Pool(nothing_BN, nothing_BN, blank(best)),
        jnp.zeros((positions, batch, beam, width)),
    )
    given = _Given(sources, limit_B, source_BS != PAD)

    def axes():
        of_sources = predictor.axes_of_sources(source_BS)
        of_loop = first_axes(start)._replace(alignment_TBKS=1)
        return of_loop, first_axes(given)._replace(sources=of_sources)

    end = until_done(advance, start, given, axes, positions)
    return _handed_out(end.pool, end.alignment_TBKS)


def take(
    x_BK: Shaped[Array, "B K *rest"], slot_BN: Int[Array, "B N"]
) -> Shaped[Array, "B N *rest"]:
    """x_BN = x_B,slot: the entries of these slots."""
    return jax.vmap(lambda x_K, slot_N: x_K[slot_N])(x_BK, slot_BN)


def _enter(pool: _Pool, ended: _Pool) -> _Pool:
    """The best of both; of equals the one that ended first."""
    both = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), pool, ended)
    score_BN, place_BN = jax.lax.top_k(both.score_BN, pool.score_BN.shape[1])
    return jax.tree.map(lambda x: take(x, place_BN), both)._replace(score_BN=score_BN)


def _handed_out(pool: _Pool, alignment_TBKS: Float[Array, "T B K S"]) -> Hypotheses:
    """A hypothesis' alignment at a step is that of the slot which it came from."""
    token_BNT, slot_BNT = pool.history
    steps_T = jnp.arange(token_BNT.shape[2])

    def of_row(slot_NT, alignment_TKS):
        return jax.vmap(lambda slot_T: alignment_TKS[steps_T, slot_T])(slot_NT)

    alignment_BNTS = jax.vmap(of_row, (0, 1))(slot_BNT, alignment_TBKS)
    real_BNT = (token_BNT != PAD)[..., None]
    found_BN = jnp.isfinite(pool.score_BN)[..., None]
    return Hypotheses(
        jnp.where(found_BN, token_BNT, PAD),
        pool.score_BN,
        pool.log_p_BN,
        jnp.where(real_BNT & found_BN[..., None], alignment_BNTS, 0.0),
    )
