import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.attention.scores import SCORES, AttentionState
from tests import reference
from tests.small import ROUNDING, flat, nested, perturb

B, S, A = 3, 5, 5
STATE = AttentionState(jnp.full((B, S), 1 / S), jnp.int32(2))


def widths(name):
    """(H, M): different where the formula allows it."""
    return (6, 6) if name in ("dot", "scaled_dot") else (4, 6)


def query_and_memory(name):
    rng = np.random.default_rng(5)
    H, M = widths(name)
    return (
        jnp.asarray(rng.standard_normal((B, H)), jnp.float32),
        jnp.asarray(rng.standard_normal((B, S, M)), jnp.float32),
    )


def split(name, width=A, dtype="float32"):
    score = SCORES[name](*widths(name), width, key=jax.random.key(1), dtype=dtype)
    graphdef, params = nnx.split(score, nnx.Param)
    return graphdef, nnx.to_pure_dict(params)


def apply(graphdef, params, query_BH, memory_BSM):
    score = nnx.merge(graphdef, params)
    return score(query_BH, score.prepare(memory_BSM), STATE)


@pytest.mark.parametrize("name", reference.SCORES)
def test_values_and_gradients_are_those_of_the_paper(name):
    graphdef, params = split(name)
    params = perturb(params)
    query_BH, memory_BSM = query_and_memory(name)
    weight_BS = np.random.default_rng(6).standard_normal((B, S))

    def expected(arrays):
        tree = nested(arrays)
        return np.array(
            [
                [reference.SCORES[name](query, m, tree.get("params")) for m in memory]
                for query, memory in zip(tree["query_BH"], tree["memory_BSM"], strict=True)
            ]
        )

    def loss(tree):
        score_BS = apply(graphdef, tree["params"], tree["query_BH"], tree["memory_BSM"])
        return jnp.sum(score_BS * weight_BS)

    inputs = {"params": params, "query_BH": query_BH, "memory_BSM": memory_BSM}
    arrays = flat(inputs)
    score_BS = apply(graphdef, params, query_BH, memory_BSM)
    np.testing.assert_allclose(score_BS, expected(arrays), **ROUNDING)

    gradient = flat(jax.jit(jax.grad(loss))(inputs))
    reference.check_gradient(
        gradient, lambda a: np.sum(expected(a) * weight_BS), arrays, rtol=1e-5, atol=1e-5
    )


def test_every_score_has_a_formula_to_compare_with():
    assert SCORES.keys() == reference.SCORES.keys()


@pytest.mark.parametrize("name", ["dot", "scaled_dot"])
def test_dot_scores_project_nothing(name):
    graphdef, params = split(name)
    assert jax.tree.leaves(params) == []
    _, memory_BSM = query_and_memory(name)
    np.testing.assert_array_equal(nnx.merge(graphdef, params).prepare(memory_BSM), memory_BSM)


@pytest.mark.parametrize("name", SCORES)
def test_no_score_has_a_bias(name):
    """None by name, and a query and a memory of zeros score 0, whatever the parameters are."""
    graphdef, params = split(name)
    assert not [path for path in flat(params) if "bias" in path]
    query_BH, memory_BSM = query_and_memory(name)
    score_BS = apply(graphdef, perturb(params), 0 * query_BH, 0 * memory_BSM)
    np.testing.assert_array_equal(score_BS, 0.0)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_looks_at_its_own_position_and_example_alone(name):
    graphdef, params = split(name)
    query_BH, memory_BSM = query_and_memory(name)
    score_BS = apply(graphdef, params, query_BH, memory_BSM)
    other_BS = apply(graphdef, params, query_BH, memory_BSM.at[1, 3].add(1.0))
    changed_BS = np.array(other_BS != score_BS)
    assert changed_BS[1, 3]
    assert changed_BS.sum() == 1


@pytest.mark.parametrize("name", SCORES)
def test_parameters_and_scores_are_float32_and_bfloat16_is_close(name):
    query_BH, memory_BSM = query_and_memory(name)
    graphdef, params = split(name)
    near_graphdef, near_params = split(name, dtype="bfloat16")
    exact_BS = apply(graphdef, params, query_BH, memory_BSM)
    near_BS = apply(near_graphdef, near_params, query_BH, memory_BSM)
    assert near_BS.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(near_params))
    jax.tree.map(np.testing.assert_array_equal, near_params, params)
    # Each factor is rounded to 8 bits (2^-9 of itself); products of size 3 or so are summed.
    assert 0 < abs(np.array(near_BS - exact_BS)).max() < 0.1


def test_scores_share_the_initial_values_of_what_they_share():
    """With A = H, general's and concat's map of the memory have one shape and one name."""
    general, concat = (flat(split(name, width=4)[1]) for name in ("general", "concat"))
    assert general.keys() & concat.keys() == {"memory/kernel"}
    np.testing.assert_array_equal(general["memory/kernel"], concat["memory/kernel"])
