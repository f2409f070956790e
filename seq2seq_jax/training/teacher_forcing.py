"""Teacher forcing: which token the decoder is fed at each step of a known target.

One definition: `ratio` is the probability that the GOLD token is fed; 1 feeds gold always, 0 never.
Where gold is not fed, the `feed` chooses a token from the model's own prediction. The first step is
fed the start token and has no coin. Coins and samples of an example depend on the key, its index
and the position alone, never on the batch around it or on padding.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from seq2seq_jax.models.attention.mechanism import Source
from seq2seq_jax.models.decoders import DecoderState, RecurrentDecoder
from seq2seq_jax.models.layers import Noise
from seq2seq_jax.rng import named
from seq2seq_jax.types import BOS, PAD, SPECIALS

# What every granularity and every feed takes and gives.
RootKey = Key[Array, ""]
Indices = Int[Array, " B"]
Coins = Float[Array, "B T"]
Logits = Float[Array, "B V"]
Keys = Key[Array, " B"]
Tokens = Int[Array, " B"]


def ratio_at(forcing, step: int) -> float:
    """The ratio of update `step` (from 0), on the host (Bengio et al. 2015, section 2.4).

    constant: r;  linear: r - decay i;  exponential: r k^i;  inverse_sigmoid: r k / (k + exp(i/k)),
    with r = ratio, i = step, k = decay, and none below `floor`.
    """
    start, decay = forcing.ratio, forcing.decay
    ratio = {
        "constant": lambda: start,
        "linear": lambda: start - decay * step,
        "exponential": lambda: start * decay**step,
        # exp overflows a float beyond 709; the ratio is 0 long before.
        "inverse_sigmoid": lambda: start * decay / (decay + math.exp(min(step / decay, 700.0))),
    }[forcing.schedule]()
    return max(forcing.floor, ratio)


def _per_example(key: RootKey, index_B: Indices) -> Keys:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index_B)


def token_coins(key: RootKey, index_B: Indices, positions: int) -> Coins:
    """A coin for each example and step."""
    keys_B = _per_example(key, index_B)
    return jax.vmap(lambda k: jax.random.uniform(k, (positions,)))(keys_B)


def step_coins(key: RootKey, index_B: Indices, positions: int) -> Coins:
    """A coin for each step, shared by the batch."""
    uniform_T = jax.random.uniform(key, (positions,))
    return jnp.broadcast_to(uniform_T, (index_B.shape[0], positions))


def sequence_coins(key: RootKey, index_B: Indices, positions: int) -> Coins:
    """A coin for each example, kept for the whole sequence."""
    uniform_B = jax.vmap(jax.random.uniform)(_per_example(key, index_B))
    return jnp.broadcast_to(uniform_B[:, None], (index_B.shape[0], positions))


def batch_coins(key: RootKey, index_B: Indices, positions: int) -> Coins:
    """One coin for the whole batch."""
    return jnp.broadcast_to(jax.random.uniform(key), (index_B.shape[0], positions))


GRANULARITIES = {
    "token": token_coins,
    "step": step_coins,
    "sequence": sequence_coins,
    "batch": batch_coins,
}


def argmax_feed(logits_BV: Logits, keys_B: Keys) -> Tokens:
    """The likeliest token."""
    return jnp.argmax(logits_BV, axis=-1)


def sample_feed(logits_BV: Logits, keys_B: Keys) -> Tokens:
    """A draw from the model's distribution."""
    return jax.vmap(jax.random.categorical)(keys_B, logits_BV)


def uniform_feed(logits_BV: Logits, keys_B: Keys) -> Tokens:
    """Any word, whatever the model says: noise as the control of scheduled sampling."""
    first, size = len(SPECIALS), logits_BV.shape[-1]
    return jax.vmap(lambda key: jax.random.randint(key, (), first, size))(keys_B)


FEEDS = {"argmax": argmax_feed, "sample": sample_feed, "uniform": uniform_feed}


class Unrolled(NamedTuple):
    """What a decoder did along a target: readouts, alignments, the tokens fed, whose they were."""

    readout_BTH: Float[Array, "B T H"]
    alignment_BTNS: Float[Array, "B T N S"]
    fed_BT: Int[Array, "B T"]
    gold_BT: Bool[Array, "B T"]


def shift_right(target_BT: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """The gold inputs: the start token, then the target without its last position."""
    start_B1 = jnp.full_like(target_BT[:, :1], BOS)
    return jnp.concatenate([start_B1, target_BT[:, :-1]], axis=1)


def coin_counts(
    unrolled: Unrolled, target_BT: Int[Array, "B T"]
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """(gold tokens fed, coins thrown), over the real positions after the first."""
    thrown_BT = (target_BT != PAD).at[:, 0].set(False)
    return jnp.sum(unrolled.gold_BT & thrown_BT), jnp.sum(thrown_BT)


def unroll_forced(
    decoder: RecurrentDecoder,
    state: DecoderState,
    source: Source,
    target_BT: Int[Array, "B T"],
    noise: Noise | None = None,
) -> Unrolled:
    """Feeds gold at every step: what `unroll` does at ratio 1, without choosing tokens."""

    fed_BT = shift_right(target_BT)
    readout_BTH, alignment_BTNS = decoder.forced(state, source, decoder.embedding(fed_BT), noise)
    return Unrolled(readout_BTH, alignment_BTNS, fed_BT, jnp.ones(fed_BT.shape, bool))


def unroll(
    decoder: RecurrentDecoder,
    state: DecoderState,
    source: Source,
    target_BT: Int[Array, "B T"],
    ratio: Float[Array, ""],
    key: Key[Array, ""],
    index_B: Int[Array, " B"],
    *,
    granularity: str = "token",
    feed: str = "argmax",
    noise: Noise | None = None,
) -> Unrolled:
    """Feeds gold with probability `ratio`, else what `feed` chooses (Bengio et al. 2015).

    No gradient flows through the choice. It costs one output projection a step.
    """
    positions = target_BT.shape[1]
    uniform_BT = GRANULARITIES[granularity](named(key, "coins"), index_B, positions)
    gold_BT = (uniform_BT < ratio).at[:, 0].set(True)
    keys_B = _per_example(named(key, "feed"), index_B)

    def step(carry, inputs):
        state, chosen_B = carry
        token_B = jnp.where(inputs[1], inputs[0], chosen_B)
        at_step_B = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys_B, state.attention.step)
        state, readout_BH = decoder.step(state, decoder.embedding(token_B), source, noise)
        logits_BV = jax.lax.stop_gradient(decoder.logits(readout_BH))
        chosen_B = FEEDS[feed](logits_BV, at_step_B).astype(token_B.dtype)
        return (state, chosen_B), (readout_BH, state.attention.alignment_BNS, token_B)

    start_B = jnp.full(target_BT.shape[:1], BOS, target_BT.dtype)
    inputs = (shift_right(target_BT).T, gold_BT.T)
    _, outputs = jax.lax.scan(step, (state, start_B), inputs)
    readout_BTH, alignment_BTNS, fed_BT = (x.swapaxes(0, 1) for x in outputs)
    return Unrolled(readout_BTH, alignment_BTNS, fed_BT, gold_BT)
