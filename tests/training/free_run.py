"""The small model along a few targets, fed its own predictions."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from seq2seq_jax.training.feeds import Feed
from seq2seq_jax.training.teacher_forcing import unroll, unroll_forced
from tests.small import small_batch, small_model

KEY = jax.random.key(11)
BATCH = small_batch(targets=(5, 2, 4, 5), sources=(2, 4, 3, 1))
ALL = BATCH.target_BT.shape[1] - 1  # passes that leave no difference from step by step
TEMPERATURE = 0.8
RECURRENT = ()  # overrides of the small model
TRANSFORMER = (("decoder.kind", "transformer"), ("transformer.heads", 2))


def free_run(
    params,
    batch,
    ratio,
    key,
    noise=None,
    granularity="token",
    feed="argmax",
    passes=0,
    model=RECURRENT,
    alone=False,
):
    """What was done along the targets, and the logits."""
    model = nnx.merge(small_model(**dict(model))[0], params)
    positions = batch.target_BT.shape[1]
    unrolled = unroll(
        model.decoder,
        *model.decoder.start(model.encoder(batch.source_BS), positions=positions),
        batch.target_BT,
        ratio,
        key,
        batch.index_B,
        granularity=granularity,
        feed=Feed(feed, top_k=3, temperature=jnp.float32(TEMPERATURE)),
        passes=passes,
        noise=noise,
        alone=alone,
    )
    return unrolled, model.decoder.logits(unrolled.readout_BTH)


compiled = functools.partial(jax.jit, static_argnames=("granularity", "feed", "passes", "model"))(
    free_run
)


def run(ratio, batch=BATCH, key=KEY, noise=None, model=RECURRENT, **static):
    params, batch = small_model(**dict(model))[1], jax.tree.map(jnp.asarray, batch)
    return compiled(params, batch, jnp.float32(ratio), key, noise, model=model, **static)


@functools.cache
def forced():
    graphdef, _ = small_model()

    @jax.jit
    def go(params, source_BS, target_BT):
        model = nnx.merge(graphdef, params)
        state, source = model.decoder.start(model.encoder(source_BS))
        return unroll_forced(model.decoder, state, source, target_BT)

    return go
