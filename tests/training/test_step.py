"""One update, against its definition; and that updates learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seq2seq_jax import rng
from seq2seq_jax.benchmarking.products import count_products
from seq2seq_jax.models.seq2seq import initialize
from seq2seq_jax.training import either, teacher_forcing
from seq2seq_jax.training.feeds import Feed
from seq2seq_jax.training.step import WINDOW, Hyper, init_state, make_train_step
from seq2seq_jax.types import Batch, InputError
from tests.small import (
    cross_entropy,
    flat,
    forward,
    pad,
    small_batch,
    small_config,
    small_guided_batch,
    small_model,
)

KEY = rng.named(jax.random.key(0), "training")
BATCH = small_batch(sources=(5, 3, 1, 4), targets=(4, 2, 5, 1))
ADAM = optax.chain(optax.scale_by_adam(), optax.scale(-1.0))
SGD = optax.scale(-1.0)  # updates are minus the gradient: parameters show it
RATE = 0.5


def hyper(learning_rate=RATE, ratio=1.0, dropout=0.0, **others):
    neutral = {
        "feed_temperature": 1.0,
        "label_smoothing": 0.0,
        "attention_temperature": 1.0,
        "coverage_loss": 0.0,
        "guided_alignment": 0.0,
    }
    values = neutral | others | {"learning_rate": learning_rate, "ratio": ratio}
    values |= {"dropout_input": dropout, "dropout_output": dropout}
    return Hyper(**{name: jnp.float32(value) for name, value in values.items()})


def config(model=(), forcing=(), **train):
    values = small_config(**dict(model))
    values.train.clip_norm = 0.0
    values.train.update_from_flattened_dict(train)
    values.teacher_forcing.update_from_flattened_dict(dict(forcing))
    return values


@functools.cache
def stepper(model=(), forcing=(), train=(), optimizer=SGD, branch=False):
    """(compiled step, list that grows with each trace)

    `branch` is only told apart: it is what `either` decides while the step is traced.
    """
    step = make_train_step(
        config(model, forcing, **dict(train)), small_model(**dict(model))[0], optimizer
    )
    traces = []

    @functools.partial(jax.jit, static_argnames="forced")
    def counted(state, batch, hyper, key, *, forced):
        traces.append(forced)
        return step(state, batch, hyper, key, forced=forced)

    return counted, traces


def start(optimizer=SGD, ema_decay=0.0):
    return init_state(small_model()[1], optimizer, ema_decay)


def update(state, batch=BATCH, h=None, forced=True, **build):
    step, _ = stepper(**build)
    return step(state, jax.tree.map(jnp.asarray, batch), h or hyper(), KEY, forced=forced)


def gradient(state, before, rate=RATE):
    """What an SGD update subtracted."""
    return {k: (flat(before)[k] - v) / rate for k, v in flat(state.params).items()}


def assert_same(one, other, rtol=1e-5, atol=1e-6):
    for path, want in other.items():
        np.testing.assert_allclose(one[path], want, rtol=rtol, atol=atol, err_msg=path)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_an_update_is_the_rate_times_the_gradient_of_the_mean(smoothing):
    graphdef, params = small_model()
    state = update(start(), h=hyper(label_smoothing=smoothing))

    def mean(params):
        logits_BTV = forward(graphdef, params, jax.tree.map(jnp.asarray, BATCH))[2]
        sums = cross_entropy(logits_BTV, jnp.asarray(BATCH.target_BT), smoothing)
        return sums.objective / 12, sums

    (_, sums), want = jax.jit(jax.value_and_grad(mean, has_aux=True))(params)
    assert_same(gradient(state, params), flat(want))
    norm = np.sqrt(sum((g**2).sum() for g in flat(want).values()))
    window = {name: float(value) for name, value in state.window.items()}
    assert window.keys() == set(WINDOW)
    np.testing.assert_allclose(window.pop("gradient_norm"), norm, rtol=1e-5)
    np.testing.assert_allclose(window.pop("loss"), sums.loss, rtol=1e-6)
    # 4 + 2 + 5 + 1 tokens, one of each row without a coin, in a batch of 4 x 5.
    assert window == {
        "correct": float(sums.correct),
        "tokens": 12,
        "gold": 8,
        "coins": 8,
        "updates": 1,
    }
    assert (state.step, state.bad_step, state.ema) == (1, -1, ())


def test_the_window_sums_over_updates():
    one = update(start())
    two = update(one)
    alone = update(one._replace(window=start().window))
    for name in WINDOW:
        total = one.window[name] + alone.window[name]
        np.testing.assert_allclose(two.window[name], total, rtol=1e-6, err_msg=name)


def test_filler_rows_and_padding_change_no_gradient():
    before = start()
    bare = gradient(update(before), before.params)
    filled = gradient(update(before, pad(BATCH, 3, 2, 2)), before.params)
    assert_same(filled, bare)


def test_a_batch_of_filler_alone_changes_nothing():
    before = start()
    after = update(before, Batch(*(np.zeros_like(x) for x in BATCH[:2]), np.full(4, -1, np.int32)))
    jax.tree.map(np.testing.assert_array_equal, after.params, before.params)
    assert after.bad_step == -1


FREE = (("granularity", "token"), ("feed", "sample"))


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_changes_rounding_alone(parts):
    """Rows of 4, 2, 5 and 1 tokens: a mean of means would be another gradient. Coins and samples
    go by the example's index, so that a ratio below 1 makes no difference either."""
    before, h = start(), hyper(ratio=0.5, label_smoothing=0.1)
    whole = update(before, h=h, forced=False, forcing=FREE)
    split = update(before, h=h, forced=False, forcing=FREE, train=(("accumulation", parts),))
    assert_same(gradient(split, before.params), gradient(whole, before.params))
    for name in set(WINDOW):
        want = whole.window[name]
        np.testing.assert_allclose(split.window[name], want, rtol=1e-5, err_msg=name)
    assert 0 < whole.window["gold"] < whole.window["coins"]


def test_devices_share_every_micro_batch_equally():
    values = config(accumulation=2)
    values.data.batch_size = 8
    with pytest.raises(InputError, match=r"is 4, which 8 devices cannot share.* multiple of 16"):
        make_train_step(values, small_model()[0], SGD, shards=8)


def test_the_fast_path_gives_the_numbers_of_ratio_1():
    before = start()
    fast, slow = update(before), update(before, forced=False, forcing=FREE)
    assert_same(flat(fast.params), flat(slow.params))
    for name in WINDOW:
        np.testing.assert_allclose(fast.window[name], slow.window[name], rtol=1e-5)


TRANSFORMER = {
    "encoder.kind": "transformer",
    "encoder.width": 4,
    "decoder.kind": "transformer",
    "transformer.heads": 2,
    "transformer.mlp_width": 6,
    "embedding": 4,
}


@pytest.mark.parametrize("forced", [True, False])
@pytest.mark.parametrize("model", [{}, {"attention.score": "concat"}, TRANSFORMER], ids=str)
def test_in_bfloat16_products_with_weights_are_and_the_gradient_is_close(model, forced):
    """Backward products too: a slope is float32 until it meets one."""
    found = {}
    for dtype in ("float32", "bfloat16"):
        options = model | {"dtype": dtype}
        graphdef, params = small_model(**options)
        step = make_train_step(config(options), graphdef, SGD)
        state = init_state(params, SGD, 0.0)
        arguments = state, jax.tree.map(jnp.asarray, BATCH), hyper(), KEY
        run = functools.partial(step, forced=forced)
        products = count_products(jax.make_jaxpr(run)(*arguments).jaxpr)
        assert {product.dtype for product in products if product.batch == 1} == {dtype}
        found[dtype] = gradient(jax.jit(run)(*arguments), params)
    exact, near = (np.concatenate([x.ravel() for x in g.values()]) for g in found.values())
    # bfloat16 keeps 8 bits.
    assert 0 < np.linalg.norm(near - exact) < 2**-5 * np.linalg.norm(exact)


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_a_gradient_is_clipped_as_a_whole_and_its_norm_reported_before(share):
    """g min(1, c / |g|), |g| over all parameters (Pascanu et al. 2013, algorithm 1)."""
    _, params = small_model()
    whole = update(start())
    norm = float(whole.window["gradient_norm"])
    clipped = update(start(), train=(("clip_norm", share * norm),))
    plain = gradient(whole, params)
    assert_same(gradient(clipped, params), {k: min(1.0, share) * g for k, g in plain.items()})
    assert float(clipped.window["gradient_norm"]) == pytest.approx(norm, rel=1e-6)


def test_clipping_comes_before_the_optimiser():
    """One that looks at signs alone gives the same update, whatever a gradient is clipped to."""
    signs = optax.chain(optax.scale_by_sign(), optax.scale(-1.0))
    whole, clipped = (
        update(start(signs), optimizer=signs, train=(("clip_norm", norm),)) for norm in (0.0, 0.01)
    )
    assert_same(flat(clipped.params), flat(whole.params))


def test_moving_average():
    """ema' = d ema + (1 - d) params', from the initial parameters on (Polyak & Juditsky 1992)."""
    decay, build = 0.9, {"optimizer": ADAM, "train": (("ema_decay", 0.9),)}
    state = start(ADAM, ema_decay=decay)
    want = flat(state.params)
    for _ in range(3):
        state = update(state, **build)
        want = {k: decay * want[k] + (1 - decay) * v for k, v in flat(state.params).items()}
    assert_same(flat(state.ema), want)
    assert any((flat(state.ema)[k] != v).any() for k, v in flat(state.params).items())


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_non_finite_update_is_not_applied_and_named(broken, branch, monkeypatch):
    monkeypatch.setattr(either, "worth_a_branch", lambda numbers: branch)
    build = {"optimizer": ADAM, "train": (("ema_decay", 0.9),), "branch": branch}
    state = start(ADAM, ema_decay=0.9)
    for _ in range(2):
        state = update(state, **build)
    good = jax.tree.map(jnp.copy, state)
    # A NaN smoothing leaves the loss finite and makes the gradient NaN.
    if broken == "loss":
        bad_params = jax.tree.map(jnp.copy, state.params)
        bad_params["decoder"]["output_bias"] = (
            bad_params["decoder"]["output_bias"].at[5].set(jnp.inf)
        )
        state = good = state._replace(params=bad_params)
        state = update(state, **build)
    else:
        state = update(state, h=hyper(label_smoothing=np.nan), **build)
        assert np.isfinite(state.window["loss"])
    assert state.bad_step == 2
    assert state.step == 3
    for name in ("params", "opt_state", "ema"):
        jax.tree.map(np.testing.assert_array_equal, getattr(state, name), getattr(good, name))
    # Later updates change nothing either, and the first bad step keeps its name.
    later = update(state, **build)
    jax.tree.map(np.testing.assert_array_equal, later.params, good.params)
    assert (later.bad_step, later.step) == (2, 4)


def test_new_numbers_compile_nothing():
    """Each of them, and the key, in a step that reads them all: it makes another update."""
    step, traces = stepper(
        model=(("dropout.input", 0.1), ("dropout.output", 0.1)),
        forcing=(("feed", "gumbel"), ("gradient", "through")),
        train=(("coverage_loss", 1.0), ("guided_alignment", 1.0)),
    )
    batch, state = jax.tree.map(jnp.asarray, small_guided_batch()), start()
    base = hyper(0.5, 0.9, 0.1, label_smoothing=0.1, coverage_loss=0.5, guided_alignment=0.5)
    updates = {"base": (base, KEY), "key": (base, jax.random.key(1))}
    for name in Hyper._fields:
        updates[name] = (base._replace(**{name: jnp.float32(0.25)}), KEY)
    tables = {
        name: flat(step(state, batch, *numbers, forced=False).params)["decoder/embedding/table"]
        for name, numbers in updates.items()
    }
    assert traces == [False]
    unread = [name for name in tables if (tables[name] == tables["base"]).all()]
    assert unread == ["base"]


def test_teacher_forcing_is_that_of_the_config(monkeypatch):
    given, unroll = {}, teacher_forcing.unroll

    def spy(*args, **options):
        given.update(options)
        return unroll(*args, **options)

    monkeypatch.setattr(teacher_forcing, "unroll", spy)
    forcing = {"feed": "top_k_mixture", "top_k": 2, "gradient": "through"}
    values = config(forcing=(forcing | {"passes": 3, "granularity": "step"}).items())
    step = functools.partial(make_train_step(values, small_model()[0], SGD), forced=False)
    jax.eval_shape(step, start(), jax.tree.map(jnp.asarray, BATCH), hyper(), KEY)
    assert given["feed"][:3] == Feed("top_k_mixture", through=True, top_k=2)[:3]
    assert (given["passes"], given["granularity"]) == (3, "step")


def test_dropout_rates_are_followed_and_noise_is_new_at_each_step():
    model = (("dropout.input", 0.1), ("dropout.output", 0.1))
    before = start()
    clean = update(before)
    noisy = {
        "rate 0": update(before, h=hyper(dropout=0.0), model=model, forced=False),
        "rate 0.5": update(before, h=hyper(dropout=0.5), model=model, forced=False),
        "later": update(
            before._replace(step=jnp.int32(1)), h=hyper(dropout=0.5), model=model, forced=False
        ),
    }
    np.testing.assert_allclose(noisy["rate 0"].window["loss"], clean.window["loss"], rtol=1e-6)
    losses = {name: float(state.window["loss"]) for name, state in noisy.items()}
    assert len(set(losses.values())) == 3


def test_a_donated_state_gives_the_same_numbers():
    step = make_train_step(config(ema_decay=0.9), small_model()[0], ADAM)
    donated = jax.jit(step, static_argnames="forced", donate_argnums=0)
    batch = jax.tree.map(jnp.asarray, BATCH)
    kept = start(ADAM, ema_decay=0.9)
    # Straight from init_state, whose leaves must not share a buffer; its parameters are not kept.
    own_params = jax.tree.map(jnp.copy, small_model()[1])
    state = init_state(own_params, ADAM, 0.9)
    for _ in range(2):
        kept = update(kept, optimizer=ADAM, train=(("ema_decay", 0.9),))
        state = donated(state, batch, hyper(), KEY, forced=True)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(own_params))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7), state, kept)


def reversed_words(draw, rows=32, length=10, words=12):
    """Different words in reverse order, 3 to `length` of them."""
    source = np.zeros((rows, length + 1), np.int32)
    target = np.zeros_like(source)
    for row in range(rows):
        word = 4 + draw.permutation(words)[: draw.integers(3, length + 1)]
        source[row, : len(word) + 1] = [*word, 2]
        target[row, : len(word) + 1] = [*word[::-1], 2]
    return Batch(jnp.asarray(source), jnp.asarray(target), jnp.arange(rows, dtype=jnp.int32))


LEARNING_UPDATES = 120


def learn(order):
    """Mean loss of the last ten of LEARNING_UPDATES updates, each on new examples."""
    values = small_config(
        **{
            "embedding": 16,
            "encoder.cell": "gru",
            "decoder.cell": "gru",
            "encoder.width": 8,
            "decoder.width": 32,
            "decoder.initial_state": "zero",  # the source comes through attention alone
            "decoder.order": order,
        }
    )
    graphdef, params = initialize(values.model, 16, 16, jax.random.key(0))
    step = jax.jit(
        make_train_step(values, graphdef, ADAM), static_argnames="forced", donate_argnums=0
    )
    state, draw = init_state(params, ADAM, 0.0), np.random.default_rng(0)
    for update in range(LEARNING_UPDATES):
        if update == LEARNING_UPDATES - 10:
            state = state._replace(window=jax.tree.map(jnp.zeros_like, state.window))
        state = step(state, reversed_words(draw), hyper(0.02), KEY, forced=True)
    return float(state.window["loss"] / state.window["tokens"])


@pytest.mark.parametrize("order", ["luong", "bahdanau"])
def test_attention_learns_to_reverse(order):
    """Measured: 0.09 (luong) after 120 updates; with a uniform alignment, which hands over the mean
    of the memory, 1.15."""
    assert learn(order) < 0.4
