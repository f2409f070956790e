import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.attention.matching import make_score
from seq2seq_jax.models.attention.scores import SCORES, AttentionState
from seq2seq_jax.models.seq2seq import build, count_parameters
from tests.small import small_config

STATE = AttentionState(jnp.zeros((2, 4)), None, None, jnp.int32(0))


def size(score, **more):
    """Parameters of a model with the widths of configs/quickstart.py and small vocabularies."""
    overrides = {
        "embedding": 64,
        "encoder.width": 64,
        "decoder.width": 128,
        "attention.width": 128,
        "attention.score": score,
        "attention.match_parameters": True,
    }
    config = small_config(**overrides | more).model
    shapes = nnx.eval_shape(lambda key: build(config, 50, 50, key), jax.random.key(0))
    return count_parameters(nnx.state(shapes, nnx.Param))


@pytest.mark.parametrize("score", SCORES)
def test_matched_variants_have_the_same_size_within_one_percent(score):
    assert abs(size(score) / size("concat") - 1) < 0.01


@pytest.mark.parametrize("score", ["dot", "normed_concat", "biaffine"])
def test_also_with_heads_and_a_score_of_the_window(score):
    more = {"attention.heads": 4, "attention.window": "chunkwise"}
    assert abs(size(score, **more) / size("concat", **more) - 1) < 0.01


def test_concat_is_as_large_as_without_matching():
    assert size("concat") == size("concat", **{"attention.match_parameters": False})
    assert size("dot") > size("dot", **{"attention.match_parameters": False})


def test_a_matched_dot_is_the_product_of_projections():
    config = small_config(**{"attention.score": "dot", "attention.match_parameters": True})
    score = make_score(config.model.attention, 4, 6, key=jax.random.key(0), dtype="float32")
    rng = np.random.default_rng(0)
    query_BH, memory_BSM = rng.standard_normal((2, 4)), rng.standard_normal((2, 4, 6))
    found_BS = score(
        jnp.asarray(query_BH, jnp.float32),
        score.prepare(jnp.asarray(memory_BSM, jnp.float32)),
        STATE,
    )
    P, Q = (np.float64(part.kernel[...]) for part in (score.query, score.memory))
    want_BS = np.einsum("ba,bsa->bs", query_BH @ P, memory_BSM @ Q)
    np.testing.assert_allclose(found_BS, want_BS, rtol=1e-5, atol=1e-6)
