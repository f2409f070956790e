"""Where the gradient of what is fed goes, and where it does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.training.feeds import Feed
from seq2seq_jax.training.losses import cross_entropy
from seq2seq_jax.training.teacher_forcing import unroll
from tests import reference
from tests.small import ROUNDING, TARGET_SIZE, flat, nested, small_model
from tests.training.free_run import BATCH, KEY, TEMPERATURE, free_run


@jax.jit
@jax.value_and_grad
def fed_by_weights(params, weight_BTV):
    """The loss of a decoder that is fed constant weights of the embeddings."""
    model = nnx.merge(small_model()[0], params)
    state, source = model.decoder.start(model.encoder(jnp.asarray(BATCH.source_BS)))
    x_BTE = weight_BTV @ model.decoder.embedding.table[...]
    readout_BTH, _ = model.decoder.forced(state, source, x_BTE)
    logits_BTV = model.decoder.logits(readout_BTH)
    return cross_entropy(logits_BTV, jnp.asarray(BATCH.target_BT)).objective


@pytest.mark.parametrize(("feed", "passes"), [("sample", 0), ("sample", 2), ("softmax_mixture", 0)])
def test_without_through_what_is_fed_is_chosen_as_if_by_hand(feed, passes):
    """No gradient reaches the prediction; the embeddings learn from what is fed."""
    params, batch = small_model()[1], jax.tree.map(jnp.asarray, BATCH)

    def chosen(params):
        ratio = jnp.float32(0.3)
        unrolled, logits_BTV = free_run(params, batch, ratio, KEY, feed=feed, passes=passes)
        return cross_entropy(logits_BTV, batch.target_BT).objective, (unrolled, logits_BTV)

    (value, (unrolled, logits_BTV)), got = jax.jit(jax.value_and_grad(chosen, has_aux=True))(params)
    weight_BTV = jax.nn.one_hot(unrolled.fed_BT, TARGET_SIZE)
    if feed == "softmax_mixture":
        mixed_BTV = jnp.roll(jax.nn.softmax(logits_BTV / TEMPERATURE), 1, axis=1)
        weight_BTV = jnp.where(unrolled.gold_BT[..., None], weight_BTV, mixed_BTV)
    want_value, want = fed_by_weights(params, weight_BTV)
    np.testing.assert_allclose(value, want_value, rtol=1e-6)
    for path, array in flat(want).items():
        np.testing.assert_allclose(flat(got)[path], array, **ROUNDING, err_msg=path)


class TestThrough:
    """The gradient that comes by way of the predictions, step by step and in passes: NumPy's."""

    WEIGHT = np.random.default_rng(5).standard_normal((*BATCH.target_BT.shape, TARGET_SIZE))
    SUMMARY = np.float32(np.random.default_rng(6).standard_normal((4, 6)))

    def loss(self, arrays, gold_BT, passes):
        """The sum of logits * WEIGHT, in float64, one example and one position at a time."""
        p = nested(arrays)["decoder"]
        bridge, table = p["initial_state"]["bridges"]["0"]["0"], p["embedding"]["table"]

        def step(carry, x):
            carry = reference.elman(carry, x, p["cells"]["0"])
            attentional = np.tanh(carry[0] @ p["combine"]["kernel"])
            return carry, attentional @ p["output"]["kernel"] + p["output_bias"]

        def along(row, inputs):
            """Logits of all steps; an input may ask for those before it."""
            carry = (np.tanh(np.float64(self.SUMMARY[row]) @ bridge["kernel"] + bridge["bias"]),)
            logits = []
            for x in inputs:
                carry, logits_V = step(carry, x(logits))
                logits.append(logits_V)
            return logits

        def example(row):
            def gold(t):
                return table[BATCH.target_BT[row, t - 1] if t else 1]

            def fed(t, logits):
                if gold_BT[row, t]:
                    return gold(t)
                return np.exp(reference.log_softmax(logits[t - 1] / TEMPERATURE)) @ table

            steps = range(BATCH.target_BT.shape[1])
            if not passes:
                return along(row, [functools.partial(fed, t) for t in steps])
            logits = along(row, [lambda _, t=t: gold(t) for t in steps])
            for _ in range(passes):
                logits = along(row, [lambda _, t=t, before=logits: fed(t, before) for t in steps])
            return logits

        return np.sum([example(row) for row in range(4)] * self.WEIGHT)

    @pytest.mark.parametrize("passes", [0, 2])
    def test_a_mixture(self, passes):
        graphdef, params = small_model(**{"attention.score": "none"})  # the summary is all it sees
        memory = Memory(jnp.zeros((4, 1, 6)), jnp.ones((4, 1), bool), (), jnp.asarray(self.SUMMARY))

        def probe(params):
            decoder = nnx.merge(graphdef, params).decoder
            unrolled = unroll(
                decoder,
                *decoder.start(memory),
                jnp.asarray(BATCH.target_BT),
                jnp.float32(0.3),
                KEY,
                jnp.asarray(BATCH.index_B),
                feed=Feed("softmax_mixture", True, temperature=jnp.float32(TEMPERATURE)),
                passes=passes,
            )
            logits_BTV = decoder.logits(unrolled.readout_BTH)
            return jnp.sum(logits_BTV * jnp.asarray(self.WEIGHT, jnp.float32)), unrolled.gold_BT

        (value, gold_BT), gradient = jax.jit(jax.value_and_grad(probe, has_aux=True))(params)
        assert 0 < gold_BT[:, 1:].mean() < 0.7
        loss = functools.partial(self.loss, gold_BT=np.array(gold_BT), passes=passes)
        arrays = {k: v for k, v in flat(params).items() if k.startswith("decoder/")}
        np.testing.assert_allclose(value, loss(arrays), rtol=1e-5, atol=1e-5)
        gradient = {k: v for k, v in flat(gradient).items() if k in arrays}
        # Sums of some 200 terms of size 1 in float32, five steps deep.
        reference.check_gradient(gradient, loss, arrays, rtol=5e-5, atol=2e-4)
