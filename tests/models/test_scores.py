import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.attention.scores import SCORES, AttentionState
from tests import reference, reference_attention
from tests.small import ROUNDING, flat, nested, perturb, small_config

B, S, A = 3, 5, 5
MAX_POSITIONS = 4  # fewer than S: score location has positions behind them
STATE = AttentionState(jnp.full((B, S), 1 / S), None, None, jnp.int32(2))
SQUARE = ("dot", "scaled_dot", "cosine", "linear")  # need H = M
CASES = [(name, "learned") for name in SCORES] + [("scaled_dot", "fixed"), ("cosine", "fixed")]
every_case = pytest.mark.parametrize(("name", "scale"), CASES)
every_score = pytest.mark.parametrize("name", SCORES)


def widths(name):
    """(H, M): different where the formula allows it."""
    return (6, 6) if name in SQUARE else (4, 6)


def query_and_memory(name):
    rng = np.random.default_rng(5)
    H, M = widths(name)
    return (
        jnp.asarray(rng.standard_normal((B, H)), jnp.float32),
        jnp.asarray(rng.standard_normal((B, S, M)), jnp.float32),
    )


def split(name, width=A, dtype="float32", scale="learned"):
    config = small_config(
        **{
            "attention.width": width,
            "attention.scale": scale,
            "attention.max_positions": MAX_POSITIONS,
        }
    ).model.attention
    score = SCORES[name](config, *widths(name), key=jax.random.key(1), dtype=dtype)
    graphdef, params = nnx.split(score, nnx.Param)
    return graphdef, nnx.to_pure_dict(params)


def apply(graphdef, params, query_BH, memory_BSM):
    score = nnx.merge(graphdef, params)
    return score(query_BH, score.prepare(memory_BSM), STATE)


@every_case
def test_values_and_gradients_are_those_of_the_paper(name, scale):
    graphdef, params = split(name, scale=scale)
    params = perturb(params)
    query_BH, memory_BSM = query_and_memory(name)
    weight_BS = np.random.default_rng(6).standard_normal((B, S))
    formula = reference_attention.SCORES[name]

    def expected(arrays):
        tree = nested(arrays)
        rows = zip(tree["query_BH"], tree["memory_BSM"], strict=True)
        return np.array(
            [
                [formula(query, m, tree.get("params"), s) for s, m in enumerate(memory)]
                for query, memory in rows
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
    assert SCORES.keys() == reference_attention.SCORES.keys()


@pytest.mark.parametrize(("name", "scale"), [("dot", "learned"), ("scaled_dot", "fixed")])
def test_dot_scores_project_nothing(name, scale):
    graphdef, params = split(name, scale=scale)
    assert jax.tree.leaves(params) == []
    _, memory_BSM = query_and_memory(name)
    np.testing.assert_array_equal(nnx.merge(graphdef, params).prepare(memory_BSM), memory_BSM)


def test_a_learned_scale_begins_at_the_fixed_one_and_cosines_at_unit_variance():
    query_BH, memory_BSM = query_and_memory("scaled_dot")
    learned, fixed = (
        apply(*split("scaled_dot", scale=scale), query_BH, memory_BSM)
        for scale in ("learned", "fixed")
    )
    np.testing.assert_allclose(learned, fixed, rtol=1e-6)
    assert split("cosine")[1]["scale"] == np.float32(np.sqrt(6))


@every_score
def test_keys_are_as_wide_as_the_score_says(name):
    """Memory terms add to the keys and have to know."""
    graphdef, params = split(name)
    score = nnx.merge(graphdef, params)
    _, memory_BSM = query_and_memory(name)
    assert score.prepare(memory_BSM).shape == (B, S, score.key_width)


@every_score
def test_no_score_has_a_bias(name):
    """None by name, and a query and a memory of zeros score 0, whatever the parameters are."""
    graphdef, params = split(name)
    assert not [path for path in flat(params) if "bias" in path]
    query_BH, memory_BSM = query_and_memory(name)
    score_BS = apply(graphdef, perturb(params), 0 * query_BH, 0 * memory_BSM)
    np.testing.assert_array_equal(score_BS, 0.0)


@every_score
def test_gradients_of_a_memory_of_zeros_are_finite(name):
    """Rows of padding are zeros, and one NaN would spread to every parameter."""
    graphdef, params = split(name)
    query_BH, memory_BSM = query_and_memory(name)
    gradient = jax.grad(lambda p, q, m: apply(graphdef, p, q, m).sum(), (0, 1, 2))
    for leaf in jax.tree.leaves(gradient(perturb(params), 0 * query_BH, 0 * memory_BSM)):
        assert np.isfinite(leaf).all()


@every_score
def test_a_score_looks_at_its_own_position_and_example_alone(name):
    graphdef, params = split(name)
    query_BH, memory_BSM = query_and_memory(name)
    score_BS = apply(graphdef, params, query_BH, memory_BSM)
    other_BS = apply(graphdef, params, query_BH, memory_BSM.at[1, 3].add(1.0))
    changed_BS = np.array(other_BS != score_BS)
    if name == "location":
        assert not changed_BS.any()  # the decoder state is all that it looks at
        np.testing.assert_array_equal(score_BS[:, MAX_POSITIONS:], score_BS[:, -2:-1])
    else:
        assert changed_BS[1, 3]
        assert changed_BS.sum() == 1


@every_score
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
