import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.attention.mechanism import Attention, FixedContext
from seq2seq_jax.models.attention.normalizers import NORMALIZERS
from seq2seq_jax.models.attention.scores import SCORES, AttentionState
from seq2seq_jax.models.encoders import Memory
from tests.small import ROUNDING, perturb, small_config

B, S, H, M = 4, 5, 6, 6
LENGTHS = np.array([5, 2, 0, 1])
VALID = jnp.asarray(np.arange(S) < LENGTHS[:, None])
RNG = np.random.default_rng(3)
QUERY = jnp.asarray(RNG.standard_normal((B, H)), jnp.float32)
MEMORY = jnp.asarray(RNG.standard_normal((B, S, M)), jnp.float32)
SUMMARY = jnp.asarray(RNG.standard_normal((B, M)), jnp.float32)


def state(positions=S):
    return AttentionState(jnp.zeros((B, positions)), jnp.int32(0))


def split(score, normalizer, dtype="float32"):
    config = small_config(
        **{"attention.score": score, "attention.normalizer": normalizer, "decoder.width": H}
    )
    attention = Attention(config.model.attention, H, M, key=jax.random.key(0), dtype=dtype)
    graphdef, params = nnx.split(attention, nnx.Param)
    return graphdef, perturb(nnx.to_pure_dict(params))


def attend(graphdef, params, query_BH=QUERY, memory_BSM=MEMORY, valid_BS=VALID):
    attention = nnx.merge(graphdef, params)
    source = attention.prepare(Memory(memory_BSM, valid_BS, (), SUMMARY))
    return attention(query_BH, source, state(valid_BS.shape[1]))


every_variant = pytest.mark.parametrize(
    ("score", "normalizer"), [(s, n) for s in SCORES for n in NORMALIZERS]
)


@every_variant
def test_contract_of_every_score_with_every_normalizer(score, normalizer):
    graphdef, params = split(score, normalizer)
    run = jax.jit(lambda *args: attend(graphdef, *args))
    context_BM, alignment_BS = map(np.array, run(params, QUERY, MEMORY, VALID))
    valid_BS = np.array(VALID)

    np.testing.assert_array_equal(alignment_BS[~valid_BS], 0.0)
    np.testing.assert_allclose(alignment_BS.sum(axis=1), LENGTHS > 0, atol=1e-6)
    np.testing.assert_array_equal(context_BM[LENGTHS == 0], 0.0)
    for row in range(B):
        want = np.float64(alignment_BS[row]) @ np.float64(MEMORY[row])
        np.testing.assert_allclose(context_BM[row], want, **ROUNDING)

    # Junk behind padding, and more padding.
    junk_BSM = jnp.where(VALID[..., None], MEMORY, 1e4)
    wide_BSM = jnp.pad(junk_BSM, ((0, 0), (0, 3), (0, 0)), constant_values=-1e4)
    wide = run(params, QUERY, wide_BSM, jnp.pad(VALID, ((0, 0), (0, 3))))
    np.testing.assert_allclose(wide[0], context_BM, **ROUNDING)
    np.testing.assert_allclose(wide[1][:, :S], alignment_BS, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(wide[1][:, S:], 0.0)


@every_variant
def test_gradients_are_finite_with_rows_of_padding_and_none_reaches_padding(score, normalizer):
    graphdef, params = split(score, normalizer)

    @jax.jit
    @jax.grad
    def gradient(inputs):
        context_BM, alignment_BS = attend(graphdef, *inputs)
        return jnp.sum(context_BM**2) + jnp.sum(alignment_BS**2)

    of_params, of_query_BH, of_memory_BSM = gradient((params, QUERY, MEMORY))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of_params))
    assert np.isfinite(of_query_BH).all() and np.isfinite(of_memory_BSM).all()
    np.testing.assert_array_equal(np.array(of_memory_BSM)[~np.array(VALID)], 0.0)
    np.testing.assert_array_equal(of_query_BH[LENGTHS == 0], 0.0)
    assert (np.array(of_memory_BSM)[0] != 0).all()


@every_variant
def test_bfloat16_is_close_and_results_are_float32(score, normalizer):
    params = split(score, normalizer)[1]
    exact = attend(split(score, normalizer)[0], params)
    near = attend(split(score, normalizer, "bfloat16")[0], params)
    for got, want in zip(near, exact, strict=True):
        assert got.dtype == jnp.float32
        assert 0 < abs(np.array(got - want)).max() < 0.1
    np.testing.assert_allclose(near[1].sum(axis=1), LENGTHS > 0, atol=1e-6)


@pytest.mark.parametrize(("fixed", "width"), [("initial", 0), ("every_input", M)])
def test_without_attention_the_context_is_fixed(fixed, width):
    context = FixedContext(fixed, M)
    assert context.context_width == width
    assert jax.tree.leaves(nnx.state(context, nnx.Param)) == []
    source = context.prepare(Memory(MEMORY, VALID, (), SUMMARY))
    for query_BH in (QUERY, -QUERY):
        context_BM, alignment_BS = context(query_BH, source, state())
        np.testing.assert_array_equal(context_BM, SUMMARY[:, :width])
        np.testing.assert_array_equal(alignment_BS, jnp.zeros((B, S)))
