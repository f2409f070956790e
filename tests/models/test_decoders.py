import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.decoders import Decoder
from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.models.layers import Noise
from seq2seq_jax.models.recurrent import CELLS
from seq2seq_jax.training.teacher_forcing import unroll_forced
from tests import reference, reference_attention
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


def decode(graphdef, params, memory, noise=None):
    """(logits, alignments) along TARGET."""
    decoder = nnx.merge(graphdef, params).decoder
    state, source = decoder.start(memory)
    unrolled = unroll_forced(decoder, state, source, TARGET, noise)
    return decoder.logits(unrolled.readout_BTH), unrolled.alignment_BTNS


def expected(arrays, settings):
    p = nested(arrays)["decoder"]
    logits, alignments = [], []
    for row, length in enumerate(LENGTHS):
        summary = np.float64(SUMMARY[row])
        carries = [
            tuple(
                np.tanh(summary @ bridges[entry]["kernel"] + bridges[entry]["bias"])
                for entry in sorted(bridges)
            )
            for _, bridges in sorted(p["initial_state"]["bridges"].items())
        ]
        memory_SM = np.float64(MEMORY[row, :length])
        row_logits, row_alignments = reference_attention.decode(
            p, carries, FED[row], memory_SM, summary, settings
        )
        logits.append(row_logits)
        alignments.append(np.pad(row_alignments, ((0, 0), (0, 0), (0, S - length))))
    return np.array(logits), np.array(alignments)


DEFAULTS = {
    "cell": "gru",
    "score": "general",
    "order": "luong",
    "fixed": "initial",
    "feeding": False,
    "gate": "none",
    "layers": 1,
    "residual": False,
}
KEYS = {
    "score": "attention.score",
    "heads": "attention.heads",
    "memory_term": "attention.memory_term",
    "fixed": "attention.fixed_context",
    "feeding": "decoder.input_feeding",
    "gate": "decoder.context_gate",
}
CASES = [
    # Input feeding in every other one, so that each score and each order has both.
    *(
        {"score": score, "order": order, "feeding": (i + j) % 2 == 0}
        for i, score in enumerate(("dot", "general", "concat"))
        for j, order in enumerate(("luong", "bahdanau", "gnmt"))
    ),
    {"score": "none"},
    {"score": "none", "fixed": "every_input", "feeding": True},
    {"score": "none", "fixed": "every_input", "order": "bahdanau"},
    {"cell": "elman", "feeding": True},
    {"cell": "lstm", "score": "concat", "order": "bahdanau", "feeding": True},
    {"gate": "source"},
    {"gate": "target", "order": "bahdanau", "feeding": True},
    {"gate": "both", "order": "gnmt", "layers": 2},
    *(
        {"cell": "elman", "layers": 3, "residual": residual, "order": order}
        for order in ("luong", "bahdanau", "gnmt")
        for residual in (False, True)
    ),
    {"score": "concat", "heads": 2, "memory_term": "coverage"},
]


def decoder_model(settings):
    keys = {
        name if "." in name else KEYS.get(name, f"decoder.{name}"): value
        for name, value in settings.items()
    }
    return small_model(**keys)


@pytest.mark.parametrize("case", CASES, ids=lambda case: ",".join(map(str, case.values())))
def test_values_and_gradients_are_those_of_the_paper(case):
    settings = DEFAULTS | case
    graphdef, params = decoder_model(settings)

    @jax.jit
    @jax.value_and_grad
    def probe(params):
        logits_BTV, alignment_BTNS = decode(graphdef, params, memory())
        return jnp.sum(logits_BTV * WEIGHT) + jnp.sum(alignment_BTNS**2)

    # The loss takes every logit with a weight of its own: a wrong one shows in the value.
    def reference_loss(arrays):
        logits_BTV, alignment_BTNS = expected(arrays, settings)
        return np.sum(logits_BTV * WEIGHT) + np.sum(alignment_BTNS**2)

    value, gradient = probe(params)
    arrays = {k: v for k, v in flat(params).items() if k.startswith("decoder/")}
    np.testing.assert_allclose(value, reference_loss(arrays), rtol=1e-5, atol=1e-5)
    gradient = {k: v for k, v in flat(gradient).items() if k in arrays}
    # Sums of some 60 terms of size 1 in float32, three steps deep.
    reference.check_gradient(gradient, reference_loss, arrays, rtol=5e-5, atol=5e-5)


def test_logits_and_alignments_one_by_one():
    settings = DEFAULTS | {"score": "concat", "feeding": True}
    graphdef, params = decoder_model(settings)
    want_BTV, want_BTNS = expected(flat(params), settings)
    logits_BTV, alignment_BTNS = decode(graphdef, params, memory())
    np.testing.assert_allclose(logits_BTV, want_BTV, **ROUNDING)
    np.testing.assert_allclose(alignment_BTNS, want_BTNS, **ROUNDING)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(
    "case",
    [
        {"layers": 2, "residual": True, "gate": "both"},
        {"heads": 2, "attention.window": "local_m", "attention.window_width": 1},
        {"score": "concat", "attention.normalizer": "gumbel"},
    ],
    ids=lambda case: ",".join(map(str, case.values())),
)
def test_all_steps_at_once_are_the_steps_one_by_one(case, same):
    """From any step on, with all that is drawn: dropout of everything, and the normaliser's."""
    settings = {"cell": "gru", "order": "luong", **case, "dropout.same_over_time": same}
    graphdef, params = decoder_model(settings)
    noise = Noise(jax.random.key(3), jnp.float32(0.3), jnp.float32(0.3))

    @jax.jit
    def both(params):
        decoder = nnx.merge(graphdef, params).decoder
        state, source = decoder.start(memory())
        state = state._replace(attention=state.attention._replace(step=jnp.int32(1)))
        arguments = state, source, decoder.embedding(jnp.asarray(FED)), noise
        return decoder.forced(*arguments), Decoder.forced(decoder, *arguments)

    assert nnx.merge(graphdef, params).decoder.attends_apart()
    for at_once, one_by_one in zip(*both(params), strict=True):
        np.testing.assert_allclose(at_once, one_by_one, **ROUNDING)


@pytest.mark.parametrize(
    "case",
    [{"feeding": True}, {"order": "bahdanau"}, {"order": "gnmt"}, {"memory_term": "coverage"}]
    + [{"attention.window": window} for window in ("monotonic", "chunkwise")],
    ids=lambda case: str(*case.values()),
)
def test_a_step_that_needs_the_one_before_waits_for_it(case):
    graphdef, params = decoder_model({"order": "luong", "score": "concat", **case})
    assert not nnx.merge(graphdef, params).decoder.attends_apart()


def test_gnmt_with_one_layer_is_bahdanau():
    results = [
        decode(*decoder_model(DEFAULTS | {"order": order}), memory())
        for order in ("gnmt", "bahdanau")
    ]
    jax.tree.map(np.testing.assert_array_equal, *results)


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
    np.testing.assert_array_equal(start.attention.alignment_BNS, jnp.zeros((B, 1, S)))
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


def test_without_attention_the_order_makes_no_difference():
    results = []
    for order in ("luong", "bahdanau", "gnmt"):
        graphdef, params = small_model(
            **{"attention.score": "none", "decoder.order": order, "decoder.input_feeding": True}
        )
        results.append(decode(graphdef, params, memory()))
    jax.tree.map(np.testing.assert_array_equal, *results)


class TestDropout:
    def readouts(self, rates, same, key=0):
        """Every step starts from the same state, so that only the masks differ."""
        graphdef, params = small_model(**{"dropout.same_over_time": same})
        noise = rates and Noise(jax.random.key(key), *map(jnp.float32, rates))

        @jax.jit
        def run(params, steps, noise):
            decoder = nnx.merge(graphdef, params).decoder
            state, source = decoder.start(memory())
            x_BE = decoder.embedding(jnp.array([4, 5]))

            def at(step):
                now = state._replace(attention=state.attention._replace(step=step))
                return decoder.step(now, x_BE, source, noise)[1]

            return jnp.stack([at(step) for step in steps])

        return np.array(run(params, list(jnp.arange(4)), noise))

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
        x_BE = decoder.embedding(jnp.array([4, 5]))
        noise = Noise(jax.random.key(0), jnp.float32(0), jnp.float32(0.5))
        noisy = decoder.step(state, x_BE, source, noise)[0]
        clean = decoder.step(state, x_BE, source)[0]
        jax.tree.map(np.testing.assert_array_equal, noisy.carries, clean.carries)
