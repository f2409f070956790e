"""One training update as a pure function: (state, batch, hyper, key) -> state."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from seq2seq_jax.models.layers import Noise
from seq2seq_jax.rng import named
from seq2seq_jax.training import teacher_forcing
from seq2seq_jax.training.deferred import deferred
from seq2seq_jax.training.either import either
from seq2seq_jax.training.feeds import Feed
from seq2seq_jax.training.losses import coverage_loss, cross_entropy, guided_alignment_loss
from seq2seq_jax.training.mesh import sum_over_devices
from seq2seq_jax.training.optimizers import clip_scale
from seq2seq_jax.types import Batch, InputError

Params = Any  # a dict of dicts of arrays
SUMS = ("loss", "correct", "tokens", "gold", "coins")  # over the tokens of a batch
WINDOW = (*SUMS, "gradient_norm", "updates")


class TrainState(NamedTuple):
    """All that an update changes. `window` sums since the last log line; the host resets it.

    `bad_step` is the first update whose loss or gradient was not finite, else -1; that update and
    the ones after it left the parameters as they were. The loop sets it of a run that has ended.
    """

    params: Params
    opt_state: optax.OptState
    ema: Params
    step: Int[Array, ""]
    window: dict[str, Float[Array, ""]]
    bad_step: Int[Array, ""]


class Hyper(NamedTuple):
    """Traced numbers of one update: a new value compiles nothing."""

    learning_rate: Float[Array, ""]
    ratio: Float[Array, ""]
    feed_temperature: Float[Array, ""]
    dropout_input: Float[Array, ""]
    dropout_output: Float[Array, ""]
    label_smoothing: Float[Array, ""]
    attention_temperature: Float[Array, ""]
    coverage_loss: Float[Array, ""]
    guided_alignment: Float[Array, ""]


def make_hyper(config, learning_rate: float, ratio: float) -> Hyper:
    """The numbers of an update at which two schedules have these values; the rest is the config's.

    They are NumPy's: whoever calls knows on which device they are needed.
    """
    dropout = config.model.dropout
    numbers: dict[str, Any] = {
        "learning_rate": learning_rate,
        "ratio": ratio,
        "feed_temperature": config.teacher_forcing.temperature,
        "dropout_input": dropout.input,
        "dropout_output": dropout.output,
        "label_smoothing": config.train.label_smoothing,
        "attention_temperature": config.model.attention.temperature,
        "coverage_loss": config.train.coverage_loss,
        "guided_alignment": config.train.guided_alignment,
    }
    return Hyper(**jax.tree.map(np.float32, numbers))


def empty_window() -> dict[str, Float[Array, ""]]:
    return {name: jnp.float32(0) for name in WINDOW}


def no_totals(params: Params) -> tuple[Params, dict[str, Float[Array, ""]]]:
    """The gradient and the sums of no tokens."""
    return jax.tree.map(jnp.zeros_like, params), {name: jnp.float32(0) for name in SUMS}


def init_state(
    params: Params, optimizer: optax.GradientTransformation, ema_decay: float
) -> TrainState:
    ema = jax.tree.map(jnp.copy, params) if ema_decay else ()
    return TrainState(
        params, optimizer.init(params), ema, jnp.int32(0), empty_window(), jnp.int32(-1)
    )


def unless(ended: Bool[Array, ""], make: Callable[[], Any], nothing: Callable[[], Any]) -> Any:
    return jax.lax.cond(ended, nothing, make)


def make_train_step(
    config,
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    shards: int = 1,
    axis: str | None = None,
    rests: bool = False,
):
    """The update that `config` describes; not jitted.

    `shards`: devices that share a batch's rows, each of which runs it on its own (`mesh.on_each`);
    `axis`: name of the vmap that it is to run under, if any; `rests`: of a state whose `bad_step`
    says that nothing will change it any more, no gradient is taken.

    params += learning_rate * optimizer(gradient of the objective's sum / real tokens, clipped),
    where the sum runs over all micro-batches, so that accumulation changes rounding alone.

    Raises:
      InputError: where the devices cannot share a micro-batch equally.
    """
    rows = config.data.batch_size // config.train.accumulation
    if rows % shards:
        raise InputError(
            f"data.batch_size / train.accumulation is {rows}, which {shards} devices cannot share"
            f" equally; take a multiple of {config.train.accumulation * shards} as batch size"
        )
    forcing, ema_decay = config.teacher_forcing, config.train.ema_decay
    through = forcing.gradient == "through"
    # Rates are traced, but where there is no dropout no mask is drawn at all.
    drops_input, drops_output = config.model.dropout.input > 0, config.model.dropout.output > 0
    covers, is_guided = config.train.coverage_loss > 0, config.train.guided_alignment > 0

    def objective(params, batch: Batch, hyper: Hyper, key, part, *, forced: bool):
        model = nnx.merge(graphdef, params)
        # Noise is drawn by the place in a (micro-)batch, coins by the example's index: only the
        # noise needs a key of its own for each part.
        noise = Noise(
            jax.random.fold_in(named(key, "dropout"), part),
            hyper.dropout_input if drops_input else None,
            hyper.dropout_output if drops_output else None,
        )
        state, source = model.decoder.start(
            model.encoder(batch.source_BS, noise),
            hyper.attention_temperature,
            positions=batch.target_BT.shape[1],
        )
        if forced:
            unrolled = teacher_forcing.unroll_forced(
                model.decoder, state, source, batch.target_BT, noise
            )
        else:
            unrolled = teacher_forcing.unroll(
                model.decoder,
                state,
                source,
                batch.target_BT,
                hyper.ratio,
                named(key, "teacher_forcing"),
                batch.index_B,
                granularity=forcing.granularity,
                feed=Feed(forcing.feed, through, forcing.top_k, hyper.feed_temperature),
                passes=forcing.passes,
                noise=noise,
                alone=axis is None,
            )
        sums = cross_entropy(
            unrolled.readout_BTH,
            model.decoder.output_layer(),
            batch.target_BT,
            hyper.label_smoothing,
            axis=axis,
        )
        gold, coins = teacher_forcing.coin_counts(unrolled, batch.target_BT)
        total = sums.objective
        if covers:
            total += hyper.coverage_loss * coverage_loss(unrolled.alignment_BTNS, batch.target_BT)
        if is_guided:
            away = guided_alignment_loss(unrolled.alignment_BTNS, batch.gold_BTS)
            total += hyper.guided_alignment * away
        return total, {
            "loss": sums.loss,
            "correct": sums.correct,
            "tokens": sums.tokens,
            "gold": gold.astype(jnp.float32),
            "coins": coins.astype(jnp.float32),
        }

    def gradient(*inputs, forced: bool):
        return deferred(jax.grad(partial(objective, forced=forced), has_aux=True))(*inputs)

    def accumulate(params, batch: Batch, hyper: Hyper, key, forced: bool):
        """Gradient and sums over the micro-batches, one after another."""
        parts = config.train.accumulation
        if parts == 1:
            return gradient(params, batch, hyper, key, 0, forced=forced)

        def part(total, inputs):
            batch, index = inputs
            new = gradient(params, batch, hyper, key, index, forced=forced)
            return jax.tree.map(jnp.add, total, new), None

        # Part p has the rows p, p + parts and so on, whether one device has all or its share.
        micro = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)
        return jax.lax.scan(part, no_totals(params), (micro, jnp.arange(parts)))[0]

    def train_step(
        state: TrainState, batch: Batch, hyper: Hyper, key: Key[Array, ""], *, forced: bool
    ) -> TrainState:
        """One update. `forced` is static: the fast path for ratio 1."""
        key = jax.random.fold_in(key, state.step)
        make = partial(accumulate, state.params, batch, hyper, key, forced)
        nothing = partial(no_totals, state.params)
        totals = unless(state.bad_step >= 0, make, nothing) if rests else make()
        gradients, sums = sum_over_devices(totals) if shards > 1 else totals
        tokens = jnp.maximum(sums["tokens"], 1.0)
        norm = optax.tree.norm(gradients) / tokens
        finite = jnp.isfinite(norm) & jnp.isfinite(sums["loss"]) & (state.bad_step < 0)
        scale = clip_scale(norm, config.train.clip_norm) / tokens

        def updated():
            scaled = jax.tree.map(lambda g: scale * g, gradients)
            updates, opt_state = optimizer.update(scaled, state.opt_state, state.params)
            params = jax.tree.map(lambda p, u: p + hyper.learning_rate * u, state.params, updates)
            if not ema_decay:
                return params, opt_state, state.ema
            ema = jax.tree.map(lambda e, p: ema_decay * e + (1 - ema_decay) * p, state.ema, params)
            return params, opt_state, ema

        sums |= {"gradient_norm": norm, "updates": jnp.float32(1)}
        return TrainState(
            *either(finite, updated, (state.params, state.opt_state, state.ema)),
            state.step + 1,
            jax.tree.map(jnp.add, state.window, sums),
            jnp.where(finite | (state.bad_step >= 0), state.bad_step, state.step),
        )

    return train_step
