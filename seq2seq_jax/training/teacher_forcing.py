"""Teacher forcing: what the decoder is fed at each step of a known target.

One definition: `ratio` is the probability that the GOLD token is fed; 1 feeds gold always, 0 never.
Where gold is not fed, the `feed` makes something of the model's own prediction (feeds.py). The
first step is fed the start token and has no coin. Coins and draws of an example depend on the key,
its index and the position alone, never on the batch around it or on padding.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from seq2seq_jax.models.attention.mechanism import Source
from seq2seq_jax.models.decoders import Decoder, DecoderState
from seq2seq_jax.models.layers import Noise
from seq2seq_jax.rng import named
from seq2seq_jax.training.feeds import ARGMAX, Feed
from seq2seq_jax.training.some_rows import of_some_rows, worth_it
from seq2seq_jax.types import BOS, PAD

# What every granularity takes and gives.
RootKey = Key[Array, ""]
Indices = Int[Array, " B"]
Coins = Float[Array, "B T"]
Keys = Key[Array, " B"]


def ratio_at(forcing, step: int) -> float:
    """The ratio of update `step` (from 0), on the host (Bengio et al. 2015, section 2.4).

    constant: r;  linear: r - decay i;  exponential: r k^i;  inverse_sigmoid: r k / (k + exp(i/k)),
    with r = ratio, i = step, k = decay; those that fall do not fall below `floor`.
    """
    start, decay = forcing.ratio, forcing.decay
    if forcing.schedule == "constant":
        return start
    ratio = {
        "linear": lambda: start - decay * step,
        "exponential": lambda: start * decay**step,
        # exp overflows a float beyond 709; the ratio is 0 long before.
        "inverse_sigmoid": lambda: start * decay / (decay + math.exp(min(step / decay, 700.0))),
    }[forcing.schedule]()
    return max(forcing.floor, ratio)


def _per_example(key: RootKey, index_B: Indices) -> Keys:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index_B)


def _per_position(keys_B: Keys, positions: int) -> Key[Array, "B T"]:
    at_positions = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return jax.vmap(at_positions, in_axes=(0, None))(keys_B, jnp.arange(positions))


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
    decoder: Decoder,
    state: DecoderState,
    source: Source,
    target_BT: Int[Array, "B T"],
    noise: Noise | None = None,
) -> Unrolled:
    """Feeds gold at every step: what `unroll` does at ratio 1, without choosing tokens."""

    fed_BT = shift_right(target_BT)
    readout_BTH, alignment_BTNS = decoder.forced(state, source, decoder.embedding(fed_BT), noise)
    return Unrolled(readout_BTH, alignment_BTNS, fed_BT, jnp.ones(fed_BT.shape, bool))


class _Plan(NamedTuple):
    """What is known before the decoder runs, of all positions or of one.

    The gold inputs and their embeddings, where they are fed, the keys of what is drawn, and whether
    what is predicted here is fed at the next position.
    """

    token_BT: Int[Array, "B T"]
    x_BTE: Float[Array, "B T E"]
    gold_BT: Bool[Array, "B T"]
    keys_BT: Key[Array, "B T"]
    wanted_BT: Bool[Array, "B T"]

    def mix(self, chosen):
        """(tokens, vectors): gold where it is fed, else what was chosen."""
        token, x = chosen
        token = jnp.where(self.gold_BT, self.token_BT, token)
        return token, jnp.where(self.gold_BT[..., None], self.x_BTE, x)


def unroll(
    decoder: Decoder,
    state: DecoderState,
    source: Source,
    target_BT: Int[Array, "B T"],
    ratio: Float[Array, ""],
    key: Key[Array, ""],
    index_B: Int[Array, " B"],
    *,
    granularity: str = "token",
    feed: Feed = ARGMAX,
    passes: int = 0,
    noise: Noise | None = None,
    alone: bool = False,
) -> Unrolled:
    """Feeds gold with probability `ratio`, else what `feed` makes of the prediction before.

    With `passes` = 0 the decoder goes step by step, and each prediction knows all that was fed
    before it (Bengio et al. 2015). With k >= 1 it goes over the whole target at once, k times to
    predict and once more for the loss: first fed gold, then gold mixed with what the pass before
    predicted. k = 1 is Mihaylova & Martins (2019), k > 1 Duckworth et al. (2019). Coins and draws
    are the same in every pass and step by step. The pass after k others is fed the right inputs at
    k + 1 positions at least, so that with T - 1 passes nothing differs from step by step.

    `alone`: it runs under no vmap. Then single tokens are predicted, step by step, for those rows
    alone that are fed one, where that is quicker; rows that have ended are fed anything.
    """
    positions = target_BT.shape[1]
    token_BT = shift_right(target_BT)
    uniform_BT = GRANULARITIES[granularity](named(key, "coins"), index_B, positions)
    gold_BT = (uniform_BT < ratio).at[:, 0].set(True)
    plan = _Plan(
        token_BT,
        decoder.embedding(token_BT),
        gold_BT,
        _per_position(_per_example(named(key, "feed"), index_B), positions),
        jnp.roll(~gold_BT & (target_BT != PAD), -1, axis=1),
    )
    if passes:
        return _in_passes(decoder, state, source, plan, feed, passes, noise)
    return _step_by_step(decoder, state, source, plan, feed, noise, alone)


def _step_by_step(decoder, state, source, plan: _Plan, feed: Feed, noise, alone) -> Unrolled:
    logits = len(plan.token_BT) * decoder.output_bias.shape[0]
    sparing = alone and feed.is_constant_token and worth_it(logits)

    def predict(readout_BH, keys_B):
        return feed(decoder.logits(readout_BH), keys_B, decoder.embedding)

    def choose(readout_BH, now: _Plan):
        if not sparing:
            return predict(readout_BH, now.keys_BT)
        operands = jax.lax.stop_gradient(readout_BH), now.keys_BT
        token_B = of_some_rows(lambda *rows: predict(*rows)[0], now.wanted_BT, *operands)
        return token_B, decoder.embedding(token_B)

    def step(carry, now: _Plan):
        state, chosen = carry
        token_B, x_BE = now.mix(chosen)
        state, readout_BH = decoder.step(state, x_BE, source, noise)
        outputs = readout_BH, state.attention.alignment_BNS, token_B
        return (state, choose(readout_BH, now)), outputs

    by_time = jax.tree.map(lambda x: x.swapaxes(0, 1), plan)
    start = plan.token_BT[:, 0], plan.x_BTE[:, 0]  # replaced by gold, which has no coin there
    _, outputs = jax.lax.scan(step, (state, start), by_time)
    readout_BTH, alignment_BTNS, fed_BT = (x.swapaxes(0, 1) for x in outputs)
    return Unrolled(readout_BTH, alignment_BTNS, fed_BT, plan.gold_BT)


def _in_passes(decoder, state, source, plan: _Plan, feed: Feed, passes: int, noise) -> Unrolled:
    def choose(logits_BV, keys_B):
        return feed(logits_BV, keys_B, decoder.embedding)

    def again(fed, _):
        readout_BTH, _ = decoder.forced(state, source, fed[1], noise)
        chosen = jax.vmap(choose, in_axes=1, out_axes=1)(decoder.logits(readout_BTH), plan.keys_BT)
        # What was predicted at t - 1 is fed at t; at 0 gold is.
        return plan.mix(jax.tree.map(lambda x: jnp.roll(x, 1, axis=1), chosen)), None

    (fed_BT, x_BTE), _ = jax.lax.scan(again, (plan.token_BT, plan.x_BTE), length=passes)
    readout_BTH, alignment_BTNS = decoder.forced(state, source, x_BTE, noise)
    return Unrolled(readout_BTH, alignment_BTNS, fed_BT, plan.gold_BT)
