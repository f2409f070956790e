"""Where the gradient of what is fed goes, and where it does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.training.feeds import Feed
from seq2seq_jax.training.teacher_forcing import unroll
from tests import reference
from tests.small import ROUNDING, TARGET_SIZE, flat, nested, small_model
from tests.training.free_run import BATCH, KEY, TEMPERATURE

B, T = BATCH.target_BT.shape
RNG = np.random.default_rng(5)
WEIGHT = np.float32(RNG.standard_normal((B, T, TARGET_SIZE)))  # the loss: sum of logits * WEIGHT
SUMMARY = np.float32(RNG.standard_normal((B, 6)))

# A decoder without attention, to which the source comes as its initial state alone.
GRAPHDEF, MODEL = small_model(**{"attention.score": "none"})
PARAMS = MODEL["decoder"]


def start(params):
    decoder = nnx.merge(GRAPHDEF, MODEL | {"decoder": params}).decoder
    memory = Memory(jnp.zeros((B, 1, 6)), jnp.ones((B, 1), bool), (), jnp.asarray(SUMMARY))
    return decoder, *decoder.start(memory)


def loss_of(decoder, readout_BTH):
    logits_BTV = decoder.logits(readout_BTH)
    return jnp.sum(logits_BTV * WEIGHT), logits_BTV


def with_gradient(feed, through, passes):
    """((loss, (unrolled, logits)), gradient)"""

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def probe(params):
        decoder, state, source = start(params)
        unrolled = unroll(
            decoder,
            state,
            source,
            jnp.asarray(BATCH.target_BT),
            jnp.float32(0.3),
            KEY,
            jnp.asarray(BATCH.index_B),
            feed=Feed(feed, through, temperature=jnp.float32(TEMPERATURE)),
            passes=passes,
        )
        loss, logits_BTV = loss_of(decoder, unrolled.readout_BTH)
        return loss, (unrolled, logits_BTV)

    (value, (unrolled, logits_BTV)), gradient = probe(PARAMS)
    assert 0 < unrolled.gold_BT[:, 1:].mean() < 0.7
    return value, gradient, unrolled, logits_BTV


@jax.jit
@jax.value_and_grad
def fed_by_weights(params, weight_BTV):
    """The loss of a decoder that is fed constant weights of the embeddings."""
    decoder, state, source = start(params)
    x_BTE = weight_BTV @ decoder.embedding.table[...]
    return loss_of(decoder, decoder.forced(state, source, x_BTE)[0])[0]


@pytest.mark.parametrize(("feed", "passes"), [("sample", 0), ("sample", 2), ("softmax_mixture", 0)])
def test_without_through_what_is_fed_is_chosen_as_if_by_hand(feed, passes):
    """No gradient reaches the prediction; the embeddings learn from what is fed."""
    value, got, unrolled, logits_BTV = with_gradient(feed, False, passes)
    weight_BTV = jax.nn.one_hot(unrolled.fed_BT, TARGET_SIZE)
    if feed == "softmax_mixture":
        mixed_BTV = jnp.roll(jax.nn.softmax(logits_BTV / TEMPERATURE), 1, axis=1)
        weight_BTV = jnp.where(unrolled.gold_BT[..., None], weight_BTV, mixed_BTV)
    want_value, want = fed_by_weights(PARAMS, weight_BTV)
    np.testing.assert_allclose(value, want_value, **ROUNDING)
    for path, array in flat(want).items():
        np.testing.assert_allclose(flat(got)[path], array, **ROUNDING, err_msg=path)


def reference_loss(arrays, gold_BT, passes):
    """In float64, one example and one position at a time; predictions are fed as mixtures."""
    p = nested(arrays)
    bridge, table = p["initial_state"]["bridges"]["0"]["0"], p["embedding"]["table"]

    def along(row, inputs):
        """Logits of all steps; an input may ask for those before it."""
        carry = (np.tanh(np.float64(SUMMARY[row]) @ bridge["kernel"] + bridge["bias"]),)
        logits = []
        for x in inputs:
            carry = reference.elman(carry, x(logits), p["cells"]["0"])
            attentional = np.tanh(carry[0] @ p["combine"]["kernel"])
            logits.append(attentional @ p["output"]["kernel"] + p["output_bias"])
        return logits

    def example(row):
        def gold(t):
            return table[BATCH.target_BT[row, t - 1] if t else 1]

        def fed(t, logits):
            if gold_BT[row, t]:
                return gold(t)
            return np.exp(reference.log_softmax(logits[t - 1] / TEMPERATURE)) @ table

        if not passes:
            return along(row, [functools.partial(fed, t) for t in range(T)])
        logits = along(row, [lambda _, t=t: gold(t) for t in range(T)])
        for _ in range(passes):
            logits = along(row, [lambda _, t=t, before=logits: fed(t, before) for t in range(T)])
        return logits

    return np.sum([example(row) for row in range(B)] * np.float64(WEIGHT))


@pytest.mark.parametrize("passes", [0, 2])
def test_through_mixtures_flows_the_gradient_of_the_whole(passes):
    """Of all that was predicted on the way, step by step and in passes."""
    value, gradient, unrolled, _ = with_gradient("softmax_mixture", True, passes)
    loss = functools.partial(reference_loss, gold_BT=np.array(unrolled.gold_BT), passes=passes)
    arrays = flat(PARAMS)
    np.testing.assert_allclose(value, loss(arrays), rtol=1e-5, atol=1e-5)
    # Sums of some 200 terms of size 1 in float32, five steps deep.
    reference.check_gradient(flat(gradient), loss, arrays, rtol=5e-5, atol=2e-4)
