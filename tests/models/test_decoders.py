import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.attention.scores import SCORES
from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.models.layers import Dropout
from seq2seq_jax.models.recurrent import CELLS
from seq2seq_jax.training.teacher_forcing import unroll_forced
from tests import reference
from tests.small import ROUNDING, flat, nested, small_model

B, S, M, T = 2, 4, 6, 3
LENGTHS = (4, 2)
RNG = np.random.default_rng(4)
MEMORY = jnp.asarray(RNG.standard_normal((B, S, M)), jnp.float32)
SUMMARY = jnp.asarray(RNG.standard_normal((B, M)), jnp.float32)
VALID = jnp.asarray(np.arange(S) < np.array(LENGTHS)[:, None])
TARGET = jnp.array([[4, 9, 2], [10, 5, 2]])
FED = np.array([[1, 4, 9], [1, 10, 5]])
WEIGHT = RNG.standard_normal((B, T, 11))


def memory(final=()):
    return Memory(MEMORY, VALID, final, SUMMARY)


def decode(graphdef, params, memory, dropout=None):
    """(logits, alignments) along TARGET."""
    decoder = nnx.merge(graphdef, params).decoder
    state, source = decoder.start(memory)
    unrolled = unroll_forced(decoder, state, source, TARGET, dropout)
    return decoder.logits(unrolled.readout_BTH), unrolled.alignment_BTS


def expected(arrays, *, cell, score, order, fixed, feeding):
    p = nested(arrays)["decoder"]
    p["cell"] = p["cells"]["0"]
    logits, alignments = [], []
    for row, length in enumerate(LENGTHS):
        summary = np.float64(SUMMARY[row])
        bridges = p["initial_state"]["bridges"]["0"]
        carry = tuple(
            np.tanh(summary @ bridges[entry]["kernel"] + bridges[entry]["bias"])
            for entry in sorted(bridges)
        )
        row_logits, row_alignments = reference.decode(
            p | {"attention": p.get("attention", {}).get("score")},
            carry,
            FED[row],
            np.float64(MEMORY[row, :length]),
            summary,
            cell=cell,
            order=order,
            score=score,
            fixed=fixed,
            feeding=feeding,
        )
        logits.append(row_logits)
        alignments.append(np.pad(row_alignments, ((0, 0), (0, S - length))))
    return np.array(logits), np.array(alignments)


CASES = [
    # Input feeding in every other one, so that each score and each order has both.
    *[
        ("gru", score, order, "initial", (i + j) % 2 == 0)
        for i, score in enumerate(SCORES)
        for j, order in enumerate(("luong", "bahdanau"))
    ],
    ("gru", "none", "luong", "initial", False),
    ("gru", "none", "luong", "every_input", True),
    ("gru", "none", "bahdanau", "every_input", False),
    ("elman", "general", "luong", "initial", True),
    ("lstm", "concat", "bahdanau", "initial", True),
]


@pytest.mark.parametrize(("cell", "score", "order", "fixed", "feeding"), CASES)
def test_values_and_gradients_are_those_of_the_paper(cell, score, order, fixed, feeding):
    graphdef, params = small_model(
        **{
            "decoder.cell": cell,
            "decoder.order": order,
            "decoder.input_feeding": feeding,
            "attention.score": score,
            "attention.fixed_context": fixed,
        }
    )
    case = {"cell": cell, "score": score, "order": order, "fixed": fixed, "feeding": feeding}

    @jax.jit
    @jax.value_and_grad
    def probe(params):
        logits_BTV, alignment_BTS = decode(graphdef, params, memory())
        return jnp.sum(logits_BTV * WEIGHT) + jnp.sum(alignment_BTS**2)

    # The loss takes every logit with a weight of its own: a wrong one shows in the value.
    def reference_loss(arrays):
        logits_BTV, alignment_BTS = expected(arrays, **case)
        return np.sum(logits_BTV * WEIGHT) + np.sum(alignment_BTS**2)

    value, gradient = probe(params)
    arrays = {k: v for k, v in flat(params).items() if k.startswith("decoder/")}
    np.testing.assert_allclose(value, reference_loss(arrays), rtol=1e-5, atol=1e-5)
    gradient = {k: v for k, v in flat(gradient).items() if k in arrays}
    # Sums of some 60 terms of size 1 in float32, three steps deep.
    reference.check_gradient(gradient, reference_loss, arrays, rtol=5e-5, atol=5e-5)


def test_logits_and_alignments_one_by_one():
    graphdef, params = small_model(
        **{"decoder.cell": "gru", "decoder.input_feeding": True, "attention.score": "concat"}
    )
    case = {"cell": "gru", "order": "luong", "fixed": "initial", "feeding": True}
    want_BTV, want_BTS = expected(flat(params), score="concat", **case)
    logits_BTV, alignment_BTS = decode(graphdef, params, memory())
    np.testing.assert_allclose(logits_BTV, want_BTV, **ROUNDING)
    np.testing.assert_allclose(alignment_BTS, want_BTS, **ROUNDING)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["zero", "last", "bridge"])
def test_initial_state(kind, cell):
    overrides = {
        "decoder.cell": cell,
        "encoder.cell": cell,
        "decoder.layers": 2,
        "encoder.layers": 2,
        "decoder.width": 6,
        "decoder.initial_state": kind,
    }
    graphdef, params = small_model(**overrides)
    model = nnx.merge(graphdef, params)
    entries = 2 if cell == "lstm" else 1
    final = tuple(tuple(jnp.full((B, 6), 2.0 * i + j) for j in range(entries)) for i in range(2))
    start = model.decoder.start(memory(final))[0]
    assert [len(carry) for carry in start.carries] == [entries, entries]
    assert start.attention.step == 0
    np.testing.assert_array_equal(start.attentional_BH, jnp.zeros((B, 6)))
    np.testing.assert_array_equal(start.attention.alignment_BS, jnp.zeros((B, S)))
    for layer, carry in enumerate(start.carries):
        for entry, got in enumerate(carry):
            if kind == "zero":
                want = np.zeros((B, 6))
            elif kind == "last":
                want = final[layer][entry]
            else:
                bridge = params["decoder"]["initial_state"]["bridges"][layer][entry]
                W, b = np.float64(bridge["kernel"]), np.float64(bridge["bias"])
                want = np.tanh(np.float64(SUMMARY) @ W + b)
            np.testing.assert_allclose(got, want, **ROUNDING)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("order", ["luong", "bahdanau"])
def test_layers_compose(order, residual):
    """Three layers by hand: a residual connection goes around each but the first."""
    graphdef, params = small_model(
        **{
            "decoder.layers": 3,
            "decoder.residual": residual,
            "decoder.order": order,
            "decoder.cell": "lstm",
        }
    )
    decoder = nnx.merge(graphdef, params).decoder
    start, source = decoder.start(memory())
    tokens_TB = jnp.array([[4, 8], [5, 5]])
    states, readouts = [start], []
    for token_B in tokens_TB:
        state, readout_BH = decoder.step(states[-1], token_B, source)
        states.append(state)
        readouts.append(readout_BH)
    p = nested(flat(params))["decoder"]
    for row, length in enumerate(LENGTHS):
        memory_SM = np.float64(MEMORY[row, :length])
        carries = [[np.float64(entry[row]) for entry in carry] for carry in start.carries]
        x = carries[-1][0]
        for token_B, new, readout_BH in zip(tokens_TB, states[1:], readouts, strict=True):
            # Both orders compare the top layer's output: of the step before, or of this one.
            query, x = x, p["embedding"]["table"][int(token_B[row])]
            if order == "bahdanau":
                context, _ = reference.attend("general", query, memory_SM, p["attention"]["score"])
                x = np.concatenate([x, context])
            for layer in range(3):
                carries[layer] = reference.lstm(carries[layer], x, p["cells"][str(layer)])
                x = carries[layer][0] + (x if residual and layer else 0)
                for got, want in zip(new.carries[layer], carries[layer], strict=True):
                    np.testing.assert_allclose(got[row], want, **ROUNDING)
            if order == "luong":
                context, _ = reference.attend("general", x, memory_SM, p["attention"]["score"])
            want = np.tanh(np.concatenate([context, x]) @ p["combine"]["kernel"])
            np.testing.assert_allclose(readout_BH[row], want, **ROUNDING)


def test_without_attention_the_order_makes_no_difference():
    results = []
    for order in ("luong", "bahdanau"):
        graphdef, params = small_model(
            **{"attention.score": "none", "decoder.order": order, "decoder.input_feeding": True}
        )
        results.append(decode(graphdef, params, memory()))
    jax.tree.map(np.testing.assert_array_equal, *results)


class TestDropout:
    def readouts(self, rates, same, key=0):
        """Every step starts from the same state, so that only the masks differ."""
        graphdef, params = small_model(**{"dropout.same_over_time": same})
        dropout = rates and Dropout(jax.random.key(key), *map(jnp.float32, rates))

        @jax.jit
        def run(params, steps, dropout):
            decoder = nnx.merge(graphdef, params).decoder
            state, source = decoder.start(memory())

            def at(step):
                now = state._replace(attention=state.attention._replace(step=step))
                return decoder.step(now, jnp.array([4, 5]), source, dropout)[1]

            return jnp.stack([at(step) for step in steps])

        return np.array(run(params, list(jnp.arange(4)), dropout))

    def test_rate_0_is_no_dropout(self):
        np.testing.assert_array_equal(self.readouts((0.0, 0.0), False), self.readouts(None, False))

    @pytest.mark.parametrize("rates", [(0.5, 0.0), (0.0, 0.5)])
    @pytest.mark.parametrize("same", [False, True])
    def test_masks_are_shared_over_time_when_asked(self, rates, same):
        out = self.readouts(rates, same)
        assert (out == out[:1]).all() == same
        assert not np.allclose(out[0], self.readouts(None, same)[0], atol=1e-3)
        assert (self.readouts(rates, same, key=1) != out).any()

    def test_the_carry_is_not_dropped(self):
        """Noise goes to what leaves a layer, never into its memory of the past."""
        graphdef, params = small_model()
        decoder = nnx.merge(graphdef, params).decoder
        state, source = decoder.start(memory())
        dropout = Dropout(jax.random.key(0), jnp.float32(0), jnp.float32(0.5))
        noisy = decoder.step(state, jnp.array([4, 5]), source, dropout)[0]
        clean = decoder.step(state, jnp.array([4, 5]), source)[0]
        jax.tree.map(np.testing.assert_array_equal, noisy.carries, clean.carries)
