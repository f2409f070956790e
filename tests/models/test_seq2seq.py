"""The whole model: every variant keeps the contracts, whatever names the registries hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.seq2seq import build, count_parameters, initialize
from tests.small import (
    SOURCE_SIZE,
    TARGET_SIZE,
    cross_entropy,
    flat,
    forward,
    pad,
    perturb,
    small_batch,
    small_config,
    small_model,
    take,
)

BATCH = small_batch()
# Every choice of every axis at least once; tests/test_variants.py has the combinations.
VARIANTS = [
    {
        "attention.score": score,
        "attention.window": window,
        "attention.normalizer": normalizer,
        "attention.memory_term": term,
        "attention.heads": heads,
        "decoder.order": order,
        "decoder.context_gate": gate,
        "decoder.input_feeding": True,
        "decoder.width": 6,  # as wide as the memory, so that every score fits
    }
    for score, window, normalizer, term, heads, order, gate in [
        ("dot", "global", "softmax", "none", 1, "luong", "none"),
        ("scaled_dot", "local_m", "sparsemax", "coverage", 2, "bahdanau", "source"),
        ("cosine", "local_p", "entmax15", "location", 1, "gnmt", "target"),
        ("general", "chunkwise", "entmax", "none", 2, "luong", "both"),
        ("biaffine", "global", "sigmoid", "coverage", 1, "bahdanau", "none"),
        ("linear", "local_m", "hard", "location", 2, "gnmt", "none"),
        ("concat", "monotonic", "softmax", "none", 1, "luong", "none"),
        ("normed_concat", "global", "gumbel", "location", 2, "bahdanau", "none"),
        ("location", "local_p", "softmax", "none", 1, "gnmt", "none"),
    ]
]


def outputs(graphdef, params, batch):
    memory, unrolled, logits_BTV = forward(graphdef, params, batch)
    sums = cross_entropy(logits_BTV, batch.target_BT, 0.1)
    return sums.objective, (memory.memory_BSM, unrolled.alignment_BTNS, logits_BTV, sums)


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda v: ",".join(map(str, v.values())))
def test_contract(settings):
    graphdef, params = small_model(**settings)
    run = functools.partial(outputs, graphdef)
    batch = jax.tree.map(jnp.asarray, BATCH)
    _, (memory_BSM, alignment_BTNS, logits_BTV, sums) = jax.jit(run)(params, batch)

    real_BS = BATCH.source_BS != 0
    alignment_BTNS = np.array(alignment_BTNS)
    np.testing.assert_array_equal(alignment_BTNS.transpose(0, 3, 1, 2)[~real_BS], 0.0)
    if settings["attention.window"] in ("global", "local_m"):
        np.testing.assert_allclose(alignment_BTNS.sum(axis=-1), 1.0, atol=1e-6)
    assert sums.tokens == (BATCH.target_BT != 0).sum()

    # Another order, filler rows, more padding on both sides: one other program shows all three.
    order_B = [2, 0, 3, 1]
    other = jax.tree.map(jnp.asarray, pad(take(BATCH, order_B), rows=2, source=3, target=2))
    gradient, wide = jax.jit(jax.grad(run, has_aux=True))(params, other)
    wide_memory, wide_alignment, wide_logits, wide_sums = wide
    B, T, _, S = alignment_BTNS.shape
    close = {"rtol": 1e-5, "atol": 1e-6}  # the order of sums differs, nothing else
    np.testing.assert_allclose(wide_memory[:B, :S], memory_BSM[np.array(order_B)], **close)
    np.testing.assert_allclose(wide_alignment[:B, :T, :, :S], alignment_BTNS[order_B], **close)
    np.testing.assert_array_equal(wide_alignment[..., S:], 0.0)
    real_BT = BATCH.target_BT[order_B] != 0
    want_BTV = np.array(logits_BTV)[order_B]
    np.testing.assert_allclose(np.array(wide_logits)[:B, :T][real_BT], want_BTV[real_BT], **close)
    np.testing.assert_allclose(wide_sums, sums, **close)

    # The filler rows are padding alone: zeros and finite gradients.
    np.testing.assert_array_equal(wide_alignment[B:], 0.0)
    np.testing.assert_array_equal(wide_memory[B:], 0.0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    unused = [path for path, leaf in flat(gradient).items() if not leaf.any()]
    if settings["attention.window"] in ("chunkwise", "monotonic"):
        # In evaluation, which this is, the reader's decisions are hard and have no slope.
        unused = [path for path in unused if "/attention/" not in path]
    assert not unused


@pytest.mark.parametrize("overrides", [{}, {"decoder.cell": "lstm", "encoder.cell": "lstm"}])
def test_bfloat16_is_close_and_parameters_stay_float32(overrides):
    results = []
    for dtype in ("float32", "bfloat16"):
        graphdef, params = small_model(dtype=dtype, **overrides)
        run = jax.jit(functools.partial(outputs, graphdef))
        results.append(run(params, jax.tree.map(jnp.asarray, BATCH))[1])
        leaves = jax.tree.leaves((params, results[-1]))
        assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    exact, near = (np.array(result[2]) for result in results)
    assert 0 < abs(exact - near).max() < 0.1
    exact, near = (float(result[3].loss) for result in results)
    np.testing.assert_allclose(near, exact, rtol=0.02)


PAIRS = [
    ({"attention.score": "general"}, {"attention.score": "concat"}),
    ({"attention.score": "general"}, {"attention.score": "none"}),
    ({"decoder.input_feeding": False}, {"decoder.input_feeding": True}),
    ({"decoder.order": "luong"}, {"decoder.order": "bahdanau"}),
    ({"encoder.bidirectional": False}, {"encoder.bidirectional": True}),
    ({"decoder.layers": 1}, {"decoder.layers": 3}),
    ({"decoder.initial_state": "zero"}, {"decoder.initial_state": "bridge"}),
    ({"dropout.output": 0.0}, {"dropout.output": 0.5}),
]


@functools.cache
def initial(items):
    model = build(small_config(**dict(items)).model, SOURCE_SIZE, TARGET_SIZE, jax.random.key(0))
    return flat(nnx.to_pure_dict(nnx.state(model, nnx.Param)), np.float32)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_variants_share_the_initial_values_of_what_they_share(one, other):
    one, other = (initial(tuple(sorted(v.items()))) for v in (one, other))
    shared = [path for path in one if path in other and one[path].shape == other[path].shape]
    for path in shared:
        np.testing.assert_array_equal(one[path], other[path], err_msg=path)
    # The embeddings, the output and a recurrent kernel on each side, at least.
    assert sum(np.ptp(one[path]) > 0 for path in shared) >= 5


def test_no_two_parameters_are_drawn_with_one_key():
    """One key gives one stream of numbers, whatever their scale: the first two show it."""
    arrays = [a.ravel() for a in initial(()).values() if np.ptp(a) > 0]
    streams = {round(float(array[0] / array[1]), 4) for array in arrays}
    assert len(streams) == len(arrays) > 10


def test_initial_values_depend_on_the_key_alone():
    """One by one or drawn by one compiled program, which may differ in the last bits."""
    config = small_config().model
    _, params = initialize(config, SOURCE_SIZE, TARGET_SIZE, jax.random.key(0))
    for path, want in initial(()).items():
        np.testing.assert_allclose(flat(params)[path], want, rtol=2e-5, atol=1e-6, err_msg=path)
    other = nnx.state(build(config, SOURCE_SIZE, TARGET_SIZE, jax.random.key(1)), nnx.Param)
    table = "encoder/embedding/table"
    assert (flat(nnx.to_pure_dict(other))[table] != initial(())[table]).all()


class TestTiedEmbeddings:
    SIZE = 9

    def model(self, tied):
        config = small_config(
            **{"tied_embeddings": tied, "embedding": 4, "decoder.initial_state": "zero"}
        )
        model = build(config.model, self.SIZE, self.SIZE, jax.random.key(0))
        graphdef, params = nnx.split(model, nnx.Param)
        return graphdef, perturb(nnx.to_pure_dict(params))

    def test_each_tie_saves_one_table(self):
        none, output, everything = (
            count_parameters(self.model(tied)[1]) for tied in ("none", "output", "all")
        )
        assert none - output == self.SIZE * 4
        assert output - everything == self.SIZE * 4

    def test_the_output_is_the_target_table(self):
        graphdef, params = self.model("output")
        decoder = nnx.merge(graphdef, params).decoder
        table = flat(params)["decoder/embedding/table"]
        readout = jnp.arange(4.0)
        np.testing.assert_allclose(
            decoder.logits(readout),
            table @ np.arange(4.0) / np.sqrt(4) + flat(params)["decoder/output_bias"],
            rtol=1e-5,
            atol=1e-6,  # sums of terms of size 1, of which some cancel
        )

    def test_a_table_for_all_gets_the_gradient_of_all_its_uses(self):
        """The gradient of the shared table is the sum of those of three tables with its values."""
        ids = {"source_BS": jnp.array([[5, 2]]), "target_BT": jnp.array([[6, 7, 2]])}
        batch = BATCH._replace(**ids, index_B=jnp.array([0]))

        def gradient(graphdef, params):
            def loss(params):
                logits_BTV = forward(graphdef, params, batch)[2]
                return cross_entropy(logits_BTV, batch.target_BT).objective

            return jax.jit(jax.grad(loss))(params)

        graphdef, params = self.model("all")
        shared = gradient(graphdef, params)
        (path,) = (path for path in flat(params) if path.endswith("/table"))
        apart_graphdef, apart = self.model("none")
        table = jnp.asarray(flat(params)[path], jnp.float32)
        apart["encoder"]["embedding"]["table"] = table
        apart["decoder"]["embedding"]["table"] = table
        apart["decoder"]["output"]["kernel"] = table.T / np.sqrt(4)
        for name in ("combine", "output_bias", "cells", "attention"):
            apart["decoder"][name] = params["decoder"][name]
        apart["encoder"]["layers"] = params["encoder"]["layers"]
        separate = gradient(apart_graphdef, apart)
        want = (
            separate["encoder"]["embedding"]["table"]
            + separate["decoder"]["embedding"]["table"]
            + separate["decoder"]["output"]["kernel"].T / np.sqrt(4)
        )
        got = flat(shared)[path]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        assert (got[5] != 0).any()
