"""One step of attention and several, against the papers and the contract, in all combinations."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax import config_rules
from seq2seq_jax.models.attention.mechanism import Attention, FixedContext
from seq2seq_jax.models.attention.memory_terms import MEMORY_TERMS
from seq2seq_jax.models.attention.normalizers import NORMALIZERS
from seq2seq_jax.models.attention.scores import SCORES, AttentionState
from seq2seq_jax.models.attention.windows import WINDOWS
from seq2seq_jax.models.encoders import Memory
from seq2seq_jax.models.layers import Noise
from tests import reference, reference_attention
from tests.small import ROUNDING, flat, nested, perturb, small_config

B, S, H, M = 4, 7, 6, 6
STEPS = 3
LENGTHS = np.array([7, 2, 0, 1])
VALID = jnp.asarray(np.arange(S) < LENGTHS[:, None])
RNG = np.random.default_rng(3)
QUERIES = jnp.asarray(RNG.standard_normal((STEPS, B, H)), jnp.float32)
MEMORY = jnp.asarray(RNG.standard_normal((B, S, M)), jnp.float32)
SUMMARY = jnp.asarray(RNG.standard_normal((B, M)), jnp.float32)
NUMBERS = {
    "window_width": 2,
    "chunk_width": 3,
    "max_positions": 5,
    "location_filters": 2,
    "location_width": 3,
    "monotonic_offset": 0.3,
    "width": 5,
}
DEFAULTS = {
    "score": "general",
    "window": "global",
    "normalizer": "softmax",
    "memory_term": "none",
    "heads": 1,
}


@functools.cache
def _config():
    return small_config(**{f"attention.{name}": value for name, value in NUMBERS.items()})


def split(dtype="float32", **settings):
    config = _config().model.attention
    config.update(DEFAULTS | settings)
    create = functools.partial(Attention, config, H, M, dtype=dtype)
    graphdef, shapes = nnx.split(nnx.eval_shape(create, key=jax.random.key(0)), nnx.Param)
    # Any numbers will do, and drawing the proper ones takes longer than the test.
    params = jax.tree.map(lambda x: np.zeros(x.shape), nnx.to_pure_dict(shapes))
    return graphdef, perturb(params, 0.5)


def attend(
    graphdef, params, queries=QUERIES, memory_BSM=MEMORY, valid_BS=VALID, noise=None, scale=1.0
):
    """Contexts and alignments of consecutive steps."""
    attention = nnx.merge(graphdef, params)
    source = attention.prepare(Memory(memory_BSM, valid_BS, (), SUMMARY), jnp.float32(scale))
    state = attention.start(valid_BS)
    contexts, alignments = [], []
    for query_BH in queries:
        context_BM, state = attention(query_BH, source, state, noise)
        contexts.append(context_BM)
        alignments.append(state.alignment_BNS)
    return jnp.stack(contexts), jnp.stack(alignments)


def expected(arrays, settings, temperature, soft):
    """The same, one example after another, by the papers; rows of padding are zeros."""
    tree = nested(arrays)
    p = tree["params"]
    settings = reference_attention.SETTINGS | NUMBERS | settings | {"temperature": temperature}
    contexts = np.zeros((STEPS, B, M))
    alignments = np.zeros((STEPS, B, settings["heads"], S))
    for row, length in enumerate(LENGTHS):
        states = reference_attention.start(settings, length)
        for t in range(STEPS if length else 0):
            contexts[t, row], states = reference_attention.attend(
                settings,
                p,
                tree["queries"][t, row],
                tree["memory_BSM"][row, :length],
                states,
                soft,
            )
            alignments[t, row, :, :length] = [state[0] for state in states]
    return contexts, alignments


CASES = [
    *({"window": window, "score": "concat"} for window in WINDOWS),
    *({"window": window, "heads": 2} for window in ("local_p", "chunkwise")),
    *({"score": score, "heads": 2} for score in ("dot", "location", "normed_concat")),
    *(
        {"score": score, "memory_term": term}
        for score, term in itertools.product(("concat", "biaffine"), MEMORY_TERMS)
    ),
    {"score": "cosine", "memory_term": "coverage", "heads": 2},
    {"score": "concat", "memory_term": "location", "window": "local_m"},
]


@pytest.mark.parametrize("settings", CASES, ids=lambda case: ",".join(map(str, case.values())))
def test_values_and_gradients_are_those_of_the_papers(settings, monkeypatch, temperature=0.7):
    graphdef, params = split(**settings)
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: jnp.zeros(shape))
    soft = settings.get("window") in ("monotonic", "chunkwise")
    noise = Noise(jax.random.key(0)) if soft else None
    weight = [RNG.standard_normal((STEPS, B, M)), RNG.standard_normal((STEPS, B, 1, S))]

    def probe(pair):
        return sum((x * w).sum() for x, w in zip(pair, weight, strict=True))

    @jax.jit
    @jax.value_and_grad
    def loss(tree):
        found = attend(graphdef, **tree, noise=noise, scale=temperature)
        return probe(found)

    inputs = {"params": params, "queries": QUERIES, "memory_BSM": MEMORY}
    value, gradient = loss(inputs)
    arrays = flat(inputs)

    def formula(arrays):
        return probe(expected(arrays, settings, temperature, soft))

    np.testing.assert_allclose(value, formula(arrays), rtol=2e-5, atol=2e-5)
    reference.check_gradient(flat(gradient), formula, arrays, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("window", ["monotonic", "chunkwise"])
def test_in_evaluation_a_monotonic_reader_is_hard(window):
    settings = {"window": window, "score": "concat"}
    graphdef, params = split(**settings)
    found = attend(graphdef, params)
    arrays = flat({"params": params, "queries": QUERIES, "memory_BSM": MEMORY})
    for got, want in zip(found, expected(arrays, settings, 1.0, soft=False), strict=True):
        np.testing.assert_allclose(got, want, **ROUNDING)
    if window == "monotonic":
        assert set(np.unique(found[1])) == {0.0, 1.0}
        at = np.array(found[1][:, 0, 0]).argmax(axis=-1)
        assert (np.diff(at) >= 0).all()


def test_monotonic_expectations_stay_exact_where_products_underflow():
    """200 positions that hardly ever let the reader pass: (1 - p)^200 is 0 in float32."""
    positions = 200
    window = WINDOWS["monotonic"](
        _config().model.attention, H, M, key=jax.random.key(0), dtype="float32"
    )
    window.offset[...] = jnp.float32(0.0)
    score = np.full(positions, 6.0)
    score[::7] = -6.0
    previous = np.full(positions, 1 / positions)
    previous_BS = jnp.asarray(previous[None], jnp.float32)
    state = AttentionState(previous_BS, None, previous_BS, jnp.int32(0))
    valid_BS = jnp.ones((1, positions), bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.random, "normal", lambda key, shape: jnp.zeros(shape))
        score_BS = jnp.asarray(score[None], jnp.float32)
        found_BS = jax.jit(window.move)(score_BS, valid_BS, state, jax.random.key(0))
    want_S = reference_attention.monotonic_soft(score, 0.0, previous)
    np.testing.assert_allclose(found_BS[0], want_S, rtol=1e-5, atol=1e-9)
    assert want_S.sum() > 0.99


def fits(settings):
    attention = _config().model.attention
    attention.update(DEFAULTS | settings)
    return not list(config_rules.attention_rules(attention, H, M, widths=""))


def combinations():
    """Every window with every normaliser; scores, memory terms and heads take turns."""
    scores, terms = itertools.cycle(SCORES), itertools.cycle(["none", *MEMORY_TERMS])
    for window, normalizer in itertools.product(WINDOWS, NORMALIZERS):
        settings = {"score": next(scores), "window": window, "normalizer": normalizer}
        if settings["score"] != "location":
            settings["memory_term"] = next(terms)
        if fits(settings):
            yield settings | {"heads": 1 + (len(window) + len(normalizer)) % 2}


every_combination = pytest.mark.parametrize(
    "settings", list(combinations()), ids=lambda case: ",".join(map(str, case.values()))
)
NOISE = Noise(jax.random.key(7))


@every_combination
def test_contract(settings):
    """Padding is exactly zero and never seen; a row sums to one, or to less where a paper says."""
    graphdef, params = split(**settings)
    run = jax.jit(functools.partial(attend, graphdef))
    contexts, alignments = map(np.array, run(params, QUERIES[:2]))
    valid_BS = np.array(VALID)

    np.testing.assert_array_equal(alignments.transpose(1, 3, 0, 2)[~valid_BS], 0.0)
    sums = alignments.sum(axis=-1)
    if settings["window"] in ("global", "local_m"):
        want = np.broadcast_to((LENGTHS > 0)[:, None], sums.shape)
        np.testing.assert_allclose(sums, want, atol=1e-6)
    else:
        assert (sums <= 1 + 1e-6).all()
    np.testing.assert_array_equal(contexts[:, LENGTHS == 0], 0.0)

    # Junk behind padding, and more padding.
    junk_BSM = jnp.where(VALID[..., None], MEMORY, 1e4)
    wide_BSM = jnp.pad(junk_BSM, ((0, 0), (0, 3), (0, 0)), constant_values=-1e4)
    wide_BS = jnp.pad(VALID, ((0, 0), (0, 3)))
    wide = run(params, QUERIES[:2], memory_BSM=wide_BSM, valid_BS=wide_BS)
    np.testing.assert_allclose(wide[0], contexts, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(wide[1][..., :S], alignments, rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(wide[1][..., S:], 0.0)


@every_combination
def test_gradients_are_finite_with_rows_of_padding_and_none_reaches_padding(settings):
    graphdef, params = split(**settings)

    @jax.jit
    @jax.grad
    def gradient(inputs):
        contexts, alignments = attend(graphdef, *inputs, noise=NOISE)
        return jnp.sum(contexts**2) + jnp.sum(alignments**2)

    of_params, of_queries, of_memory_BSM = gradient((params, QUERIES[:2], MEMORY))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of_params))
    assert np.isfinite(of_queries).all() and np.isfinite(of_memory_BSM).all()
    np.testing.assert_array_equal(np.array(of_memory_BSM)[~np.array(VALID)], 0.0)
    np.testing.assert_array_equal(np.array(of_queries)[:, LENGTHS == 0], 0.0)
    assert (np.array(of_memory_BSM)[0] != 0).any()


def test_contexts_are_sums_of_the_memory_and_alignments_its_weights():
    graphdef, params = split(window="local_p")
    contexts, alignments = attend(graphdef, params)
    want = np.einsum("tbs,bsm->tbm", np.float64(alignments[:, :, 0]), np.float64(MEMORY))
    np.testing.assert_allclose(contexts, want, **ROUNDING)


def test_noise_moves_a_monotonic_reader_in_training_alone_and_anew_at_each_step():
    graphdef, params = split(window="monotonic")
    still = jnp.broadcast_to(QUERIES[:1], QUERIES.shape)
    one, other = (
        attend(graphdef, params, queries=still, noise=Noise(jax.random.key(key)))[1]
        for key in (1, 2)
    )
    assert (one != other).any()
    assert (one[1] != one[2]).any()


@pytest.mark.parametrize("window", ["monotonic", "chunkwise"])
def test_more_padding_behind_leaves_the_noise_as_it_is(window):
    graphdef, params = split(window=window)
    wide_BSM = jnp.pad(MEMORY, ((0, 0), (0, 3), (0, 0)))
    wide_BS = jnp.pad(VALID, ((0, 0), (0, 3)))
    got = attend(graphdef, params, memory_BSM=wide_BSM, valid_BS=wide_BS, noise=NOISE)[1]
    want = attend(graphdef, params, noise=NOISE)[1]
    np.testing.assert_allclose(got[..., :S], want, atol=1e-6)


@pytest.mark.parametrize("settings", CASES, ids=lambda case: ",".join(map(str, case.values())))
def test_bfloat16_is_close_and_results_are_float32(settings):
    # A monotonic reader decides in evaluation, where rounding may move it from one position to
    # another; in training it does not.
    noise = NOISE if settings.get("window") in ("monotonic", "chunkwise") else None
    exact = attend(*split(**settings), noise=noise)
    near = attend(split("bfloat16", **settings)[0], split(**settings)[1], noise=noise)
    for got, want in zip(near, exact, strict=True):
        assert got.dtype == jnp.float32
        assert 0 < abs(np.array(got - want)).max() < 0.2
    full = np.array(exact[1].sum(axis=-1))
    np.testing.assert_allclose(near[1].sum(axis=-1), full, atol=2e-2)


@pytest.mark.parametrize(("fixed", "width"), [("initial", 0), ("every_input", M)])
def test_without_attention_the_context_is_fixed(fixed, width):
    context = FixedContext(fixed, M)
    assert context.context_width == width
    assert jax.tree.leaves(nnx.state(context, nnx.Param)) == []
    source = context.prepare(Memory(MEMORY, VALID, (), SUMMARY), jnp.float32(1))
    state = context.start(VALID)
    for query_BH in (QUERIES[0], -QUERIES[0]):
        context_BM, state = context(query_BH, source, state)
        np.testing.assert_array_equal(context_BM, SUMMARY[:, :width])
        np.testing.assert_array_equal(state.alignment_BNS, jnp.zeros((B, 1, S)))
    assert state.step == 2
