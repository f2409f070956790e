import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from seq2seq_jax import config as configs
from seq2seq_jax import config_checks as checks
from seq2seq_jax.models import layers
from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.models.layers import Noise, drop_at
from seq2seq_jax.models.positions import POSITIONS, Learned
from seq2seq_jax.models.seq2seq import DECODERS, ENCODERS, build
from seq2seq_jax.types import BOS, InputError
from tests import reference, reference_transformer
from tests.small import (
    ROUNDING,
    SOURCE_SIZE,
    TARGET_SIZE,
    flat,
    nested,
    pad,
    small_batch,
    small_config,
    small_model,
    take,
)

BATCH = small_batch(sources=(2, 4, 1), targets=(4, 2, 3))
PADDED = pad(BATCH, rows=1, source=1, target=1)  # a row of padding alone, and padding everywhere
BOTH = {"encoder.kind": "transformer", "decoder.kind": "transformer"}
SMALL = BOTH | {
    "encoder.width": 4,
    "decoder.width": 4,
    "transformer.heads": 2,
    "transformer.mlp_width": 5,
    "transformer.max_positions": 3,  # fewer than there are positions
}
RNG = np.random.default_rng(6)
WEIGHT_BTV = RNG.standard_normal((4, 5, TARGET_SIZE))


def options(norm, positions, activation="relu", score="scaled_dot", heads=1, **more):
    return SMALL | {
        "transformer.norm": norm,
        "transformer.positions": positions,
        "transformer.activation": activation,
        "attention.score": score,
        "attention.heads": heads,
        **more,
    }


def fed(batch):
    return jnp.pad(jnp.asarray(batch.target_BT)[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)


def forward(graphdef, params, batch, noise=None):
    """(memory, readouts, alignments, logits), everything at once."""
    model = nnx.merge(graphdef, params)
    memory = model.encoder(jnp.asarray(batch.source_BS), noise)
    state, source = model.decoder.start(memory)
    x_BTE = model.decoder.embedding(fed(batch))
    readout_BTH, alignment_BTNS = model.decoder.forced(state, source, x_BTE, noise)
    return memory, readout_BTH, alignment_BTNS, model.decoder.logits(readout_BTH)


CASES = [
    options("pre", "sinusoidal", "relu", "scaled_dot", 2)
    | {"attention.window": "local_m", "attention.window_width": 1},
    options("post", "rotary", "gated", "concat", 1, embedding=4, **{"encoder.width": 8})
    | {"decoder.layers": 2},
    options("pre", "learned", "gated", "general", 2, **{"encoder.width": 8, "encoder.layers": 2}),
    options("post", "learned", "relu", "none", 1, **{"attention.fixed_context": "every_input"}),
]


@pytest.mark.parametrize("overrides", CASES, ids=range(len(CASES)))
def test_values_and_gradients_are_those_of_the_papers(overrides):
    graphdef, params = small_model(**overrides)
    case = {name: overrides[f"transformer.{name}"] for name in ("norm", "positions", "heads")}
    attention = {name[10:]: value for name, value in overrides.items() if name[:10] == "attention."}
    case["attention"] = attention
    real_BT = PADDED.target_BT != 0
    examples, fed_BT = range(len(BATCH.index_B)), np.array(fed(PADDED))

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def probe(params):
        memory, _, alignment_BTNS, logits_BTV = forward(graphdef, params, PADDED)
        square_BT = jnp.sum(alignment_BTNS**2, axis=(2, 3))
        loss_BT = jnp.sum(logits_BTV * WEIGHT_BTV, axis=-1) + square_BT
        return jnp.sum(loss_BT * real_BT), (memory, alignment_BTNS, logits_BTV)

    def expected(arrays):
        p = nested(arrays)
        for row in examples:
            source, tokens = PADDED.source_BS[row], fed_BT[row][real_BT[row]]
            yield reference_transformer.translate(p, source[source != 0], tokens, case)

    def reference_loss(arrays):
        return sum(
            np.sum(logits_TV * weight_TV[: len(logits_TV)]) + np.sum(alignment_TNS**2)
            for (logits_TV, alignment_TNS), weight_TV in zip(
                expected(arrays), WEIGHT_BTV[examples], strict=True
            )
        )

    (_, (memory, alignment_BTNS, logits_BTV)), gradient = jax.device_get(probe(params))
    arrays = flat(params)
    # Products, norms and softmax one after another in float32, with terms of size 1.
    close = {"rtol": 5e-5, "atol": 2e-5}
    for row, (want_TV, want_TNS) in enumerate(expected(arrays)):
        T, _, S = want_TNS.shape
        np.testing.assert_allclose(logits_BTV[row, :T], want_TV, **close)
        np.testing.assert_allclose(alignment_BTNS[row, :T, :, :S], want_TNS, **close)
        np.testing.assert_array_equal(alignment_BTNS[row, :T, :, S:], 0.0)
        # The summary is the mean over the real positions; padding holds zeros.
        np.testing.assert_array_equal(memory.memory_BSM[row, S:], 0.0)
        mean = np.float64(memory.memory_BSM[row, :S]).mean(axis=0)
        np.testing.assert_allclose(memory.summary_BM[row], mean, **ROUNDING)
    assert memory.final == ()
    # The row of padding alone: zeros, and nothing that is not finite.
    for rows in (memory.memory_BSM, memory.summary_BM, alignment_BTNS):
        np.testing.assert_array_equal(rows[len(examples) :], 0.0)
    assert np.isfinite(logits_BTV).all()
    gradients = flat(gradient)
    reference.check_gradient(gradients, reference_loss, arrays, rtol=2e-4, atol=2e-4)
    assert all((leaf != 0).any() for leaf in gradients.values()), "an unused parameter"


MEMORY = jnp.asarray(RNG.standard_normal((2, 5, 4)), jnp.float32)
VALID = jnp.asarray(np.arange(5) < np.array([5, 2])[:, None])
X = jnp.asarray(RNG.standard_normal((2, 6, 3)), jnp.float32)


def all_at_once_and_step_by_step(graphdef, params, noise=None):
    decoder = nnx.merge(graphdef, params).decoder
    memory = Memory(MEMORY, VALID, (), MEMORY.mean(axis=1))
    state, source = decoder.start(memory, positions=X.shape[1] + 1)  # room that stays empty
    readout_BTH, alignment_BTNS = decoder.forced(state, source, X, noise)

    def step(state, x_BE):
        state, readout_BH = decoder.step(state, x_BE, source, noise)
        logits_BV = decoder.logits(readout_BH)
        return state, (readout_BH, logits_BV, state.attention.alignment_BNS)

    state, along = jax.lax.scan(step, state, X.swapaxes(0, 1))
    full = readout_BTH, decoder.logits(readout_BTH), alignment_BTNS
    return full, [x.swapaxes(0, 1) for x in along], state.attention.step


SCORES = ["scaled_dot", "concat", "location"]
INCREMENTAL = [
    # Each norm with each kind of positions and with each score.
    options(norm, positions, "gated", score, 2)
    for i, norm in enumerate(("pre", "post"))
    for positions, score in zip(POSITIONS, SCORES[i:] + SCORES[:i], strict=True)
]


@pytest.mark.parametrize("overrides", INCREMENTAL, ids=range(len(INCREMENTAL)))
def test_step_by_step_is_all_at_once(overrides):
    graphdef, params = small_model(**overrides)
    full, along, steps = jax.jit(functools.partial(all_at_once_and_step_by_step, graphdef))(params)
    for want, got in zip(full, along, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert steps == X.shape[1]
    assert np.ptp(full[2], axis=1).max() > 1e-3  # the steps differ


@pytest.mark.parametrize(("window", "same"), [("local_m", False), ("local_p", True)])
def test_with_dropout_and_windows_too(window, same):
    """A mask belongs to a position, however it is reached."""
    graphdef, params = small_model(
        **options("pre", "rotary", "relu", "general", 1)
        | {"attention.window": window, "attention.window_width": 1}
        | {"decoder.layers": 2, "dropout.same_over_time": same}
    )

    @jax.jit
    def run(params, rates):
        noise = Noise(jax.random.key(3), *rates)
        return all_at_once_and_step_by_step(graphdef, params, noise)[:2]

    results = [run(params, rates) for rates in ((0.0, 0.0), (0.4, 0.0), (0.0, 0.4))]
    for full, along in results:
        for want, got in zip(full, along, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)
    clean, *noisy = (np.array(full[0]) for full, _ in results)
    assert all(np.abs(clean - other).max() > 0.1 for other in noisy)


@pytest.mark.parametrize("same", [False, True])
def test_masks_are_shared_over_time_when_asked(same):
    noise = Noise(jax.random.key(0), output=jnp.float32(0.5))
    kept_BTD = np.array(
        drop_at(noise, Noise.drop_output, jnp.ones((1, 3, 20)), jnp.arange(3), same)
    )
    assert (kept_BTD == kept_BTD[:, :1]).all() == same
    assert len(np.unique(kept_BTD[0], axis=0)) == (1 if same else 3)


def test_no_two_masks_are_drawn_with_one_key(monkeypatch):
    graphdef, params = small_model(
        **options("pre", "rotary", score="general")
        | {"encoder.layers": 2, "decoder.layers": 2, "dropout.same_over_time": True}
    )
    keys = []

    def drop(x, rate, key, over_time):
        keys.append(key)
        return x

    monkeypatch.setattr(layers, "drop", drop)

    @jax.jit
    def run(params):
        forward(graphdef, params, BATCH, Noise(jax.random.key(0)))
        return jax.random.key_data(jnp.stack(keys))

    # The embeddings of both sides, two sublayers of each encoder layer, three of each decoder's.
    assert len(np.unique(run(params), axis=0)) == len(keys) == 2 + 2 * 2 + 2 * 3


def test_nothing_sees_what_comes_after():
    graphdef, params = small_model(**options("pre", "learned", score="general"))
    run = jax.jit(functools.partial(forward, graphdef))
    before = np.array(run(params, BATCH)[1])
    for t in range(3):
        target_BT = BATCH.target_BT.copy()
        target_BT[:, t] = target_BT[:, t] % 6 + 4  # the word that is fed after step t
        after = np.array(run(params, BATCH._replace(target_BT=target_BT))[1])
        moved_BT = (after != before).any(axis=-1)
        np.testing.assert_array_equal(moved_BT[:, : t + 1], False)
        assert moved_BT[:, t + 1 :].all()


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_beside_a_recurrent_side_padding_batch_and_order_change_nothing(side):
    graphdef, params = small_model(
        **options("pre", "rotary", "relu", "scaled_dot")
        | {f"{side}.kind": "recurrent", "encoder.bidirectional": False}
    )
    run = jax.jit(functools.partial(forward, graphdef))
    memory, _, alignment_BTNS, logits_BTV = jax.device_get(run(params, BATCH))
    order_B = np.array([2, 0, 1])
    other = pad(take(BATCH, order_B), rows=2, source=3, target=2)
    other = jax.device_get(run(params, other))
    B, T, _, S = alignment_BTNS.shape
    real_BT = BATCH.target_BT[order_B] != 0
    close = {"rtol": 1e-5, "atol": 1e-6}  # the order of sums differs, nothing else
    for got, want in zip(other[0][::3], memory[::3], strict=True):
        np.testing.assert_allclose(got[:B, :S], want[order_B], **close)
        np.testing.assert_array_equal(got[B:], 0.0)
    got, want = other[2][:B, :T, :, :S], alignment_BTNS[order_B]
    np.testing.assert_allclose(got[real_BT], want[real_BT], **close)
    got, want = other[3][:B, :T], logits_BTV[order_B]
    np.testing.assert_allclose(got[real_BT], want[real_BT], **close)


def test_bfloat16_is_close_and_sums_stay_float32():
    results = []
    for dtype in ("float32", "bfloat16"):
        graphdef, params = small_model(dtype=dtype, **options("post", "rotary", "gated", heads=2))
        results.append(jax.jit(functools.partial(forward, graphdef))(params, BATCH))
        floats = [results[-1][0].memory_BSM, *results[-1][1:], *jax.tree.leaves(params)]
        assert all(leaf.dtype == jnp.float32 for leaf in floats)
    exact, near = (np.array(result[3]) for result in results)
    assert 0 < np.abs(exact - near).max() < 0.1


def shapes_in(jaxpr):
    """The sizes of all arrays that a program makes, those of its inner programs too."""
    for equation in jaxpr.eqns:
        yield from (np.prod(v.aval.shape) for v in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from shapes_in(inner)


def test_concat_never_makes_an_array_for_each_step_position_and_unit():
    graphdef, params = small_model(
        **options("pre", "rotary", score="concat"), **{"attention.width": 200}
    )

    def loss(params):
        return jnp.sum(forward(graphdef, params, BATCH)[3] ** 2)

    jaxpr = jax.make_jaxpr(jax.grad(loss))(params)
    B, S, A = *BATCH.source_BS.shape, 200
    assert max(shapes_in(jaxpr.jaxpr)) == B * S * A  # one step's


def test_positions_behind_the_table_share_its_last_row():
    config = small_config(**{"transformer.max_positions": 3}).model.transformer
    positions = Learned(config, 4, key=jax.random.key(0), dtype="float32")
    added = np.array(positions.add(jnp.zeros((1, 5, 4)), jnp.arange(5)))[0]
    np.testing.assert_array_equal(added[3:], added[[2, 2]])
    assert len(np.unique(added, axis=0)) == 3


def test_a_step_without_room_is_refused():
    graphdef, params = small_model(**options("pre", "sinusoidal", score="general"))
    decoder = nnx.merge(graphdef, params).decoder
    state, source = decoder.start(Memory(MEMORY, VALID, (), MEMORY[:, 0]))
    with pytest.raises(ValueError, match="positions"):
        decoder.step(state, X[:, 0], source)


def test_variants_share_the_initial_values_of_what_they_share():
    def initial(overrides):
        model = build(small_config(**overrides).model, SOURCE_SIZE, TARGET_SIZE, jax.random.key(0))
        return flat(nnx.to_pure_dict(nnx.state(model, nnx.Param)), np.float32)

    one = initial(options("pre", "sinusoidal", "relu", "scaled_dot"))
    other = initial(options("post", "learned", "gated", "concat", **{"decoder.layers": 2}))
    for path in (shared := one.keys() & other.keys()):
        np.testing.assert_array_equal(one[path], other[path], err_msg=path)
    drawn = [path for path in shared if np.ptp(one[path]) > 0]
    assert len(drawn) == 3 + 2 * 6 + 2 + 1  # tables, output; self-attention, MLP; maps in; context
    # One key gives one stream of numbers, whatever their scale: the first two show it.
    arrays = [array.ravel() for array in other.values() if np.ptp(array) > 0]
    assert len({round(float(array[0] / array[1]), 4) for array in arrays}) == len(arrays)


def test_names_are_those_of_the_registries():
    assert set(checks.POSITIONS) == set(POSITIONS)
    assert set(checks.KINDS) == set(ENCODERS) == set(DECODERS)


TO, FROM = {"model.decoder.kind": "transformer"}, {"model.encoder.kind": "transformer"}
REFUSED = [
    (TO | {"model.decoder.order": "bahdanau"}, "model.decoder.order = bahdanau is about"),
    (TO | {"model.decoder.context_gate": "both"}, "take none"),
    (TO | {"model.decoder.input_feeding": True}, "take False"),
    (TO | {"model.attention.memory_term": "coverage"}, "looks at the step before"),
    (TO | {"model.attention.memory_term": "location"}, "looks at the step before"),
    (TO | {"model.attention.window": "monotonic"}, "looks at the step before"),
    (TO | {"model.attention.window": "chunkwise"}, "looks at the step before"),
    (TO | {"model.attention.score": "none"}, "take every_input"),
    (TO | {"model.transformer.heads": 3}, "does not divide model.decoder.width = 128"),
    (FROM | {"model.transformer.heads": 3}, "does not divide model.encoder.width = 128"),
    (
        FROM | {"model.transformer.heads": 128, "model.transformer.positions": "rotary"},
        "take an even width for each head",
    ),
    (FROM | {"model.decoder.initial_state": "last"}, "Transformer encoder has none; take bridge"),
    (FROM | {"model.encoder.reverse_source": True}, "take False"),
    ({"model.transformer.norm": "both"}, "not one of pre, post"),
    ({"model.encoder.kind": "tranformer"}, "did you mean transformer?"),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED)
def test_what_a_transformer_cannot_do_is_refused(overrides, message):
    with pytest.raises(InputError) as caught:
        configs.load("configs/default.py", overrides)
    assert message in str(caught.value)
    assert "1 problem" in str(caught.value)


ALLOWED = [
    FROM,
    TO,
    # Both directions of a recurrent encoder make 256; a Transformer's memory is as wide as it is.
    FROM | {"model.attention.score": "dot"},
    # Keys of recurrent parts alone.
    TO | {"model.decoder.initial_state": "last", "model.decoder.cell": "lstm"},
    TO | {"model.attention.score": "none", "model.attention.fixed_context": "every_input"},
    TO | {"model.attention.window": "local_p", "model.attention.normalizer": "entmax15"},
    {"model.transformer.heads": 3},
]


@pytest.mark.parametrize("overrides", ALLOWED)
def test_what_a_transformer_can_do_is_not(overrides):
    config = configs.load("configs/default.py", overrides).model
    key = jax.random.key(0)
    create = functools.partial(build, config, 30, 40)
    assert nnx.eval_shape(create, key).encoder.width in (128, 256)
