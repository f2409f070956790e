"""What each feed makes of a prediction, against its formula; and where gradients go."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax import config as configs
from seq2seq_jax.config_checks import CHOICES
from seq2seq_jax.models.layers import Embedding
from seq2seq_jax.training.feeds import FEEDS, Feed
from seq2seq_jax.types import InputError
from tests import reference
from tests.small import ROUNDING

B, V, E, TOP = 6, 9, 3, 3
RNG = np.random.default_rng(3)
LOGITS = np.float32(2 * RNG.standard_normal((B, V)))
TABLE = np.float32(RNG.standard_normal((V, E)))
OUTPUT = RNG.standard_normal((B, E))  # the loss is the sum of x * OUTPUT
KEYS = jax.random.split(jax.random.key(5), B)
GRAPHDEF, _ = nnx.split(Embedding(V, E, key=jax.random.key(0), dtype="float32"), nnx.Param)

SINGLE = ("argmax", "sample")
MIXTURES = ("gumbel", "top_k_mixture", "softmax_mixture")


@functools.partial(jax.jit, static_argnames=("name", "through", "top_k"))
def fed(arrays, keys_B, temperature, *, name, through, top_k):
    """(sum of x * OUTPUT, (tokens, x)) and the gradient of the sum."""

    def loss(arrays):
        embedding = nnx.merge(GRAPHDEF, {"table": arrays["table"]})
        feed = Feed(name, through, top_k, temperature)
        token_B, x_BE = feed(arrays["logits"], keys_B, embedding)
        weight_BE = jnp.asarray(np.resize(OUTPUT, x_BE.shape), jnp.float32)
        return jnp.sum(x_BE * weight_BE), (token_B, x_BE)

    (_, (token_B, x_BE)), gradient = jax.value_and_grad(loss, has_aux=True)(arrays)
    return token_B, x_BE, gradient


def run(name, logits=LOGITS, keys=KEYS, temperature=1.0, through=False, top_k=TOP):
    arrays = {"logits": jnp.asarray(logits), "table": jnp.asarray(TABLE)}
    found = fed(arrays, keys, jnp.float32(temperature), name=name, through=through, top_k=top_k)
    return jax.tree.map(np.array, found)


def noise(keys=KEYS):
    """The Gumbel noise that belongs to the keys."""
    return np.float64(jax.vmap(lambda key: jax.random.gumbel(key, (V,)))(keys))


def weights(name, logits_BV, temperature):
    """The formulas of feeds.py, in float64."""
    if name == "sample":
        z_BV = logits_BV / temperature + noise()
    elif name == "gumbel":
        z_BV = (logits_BV + noise()) / temperature
    else:
        z_BV = logits_BV / temperature
    if name == "top_k_mixture":
        smallest_B1 = np.sort(z_BV, axis=1)[:, -TOP:][:, :1]
        z_BV = np.where(z_BV >= smallest_B1, z_BV, -np.inf)
    return np.exp(reference.log_softmax(z_BV))


def mixture_loss(arrays, name, temperature):
    weight_BV = weights(name, arrays["logits"], temperature)
    return np.sum((weight_BV @ arrays["table"]) * OUTPUT)


FLOAT64 = {"logits": np.float64(LOGITS), "table": np.float64(TABLE)}


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_weighs_the_embeddings_by_its_formula(name, temperature):
    weight_BV = weights(name, FLOAT64["logits"], temperature)
    token_B, x_BE, _ = run(name, temperature=temperature)
    np.testing.assert_allclose(x_BE, weight_BV @ FLOAT64["table"], **ROUNDING)
    np.testing.assert_array_equal(token_B, weight_BV.argmax(axis=1))
    assert (weight_BV > 0).sum() == B * (TOP if name == "top_k_mixture" else V)


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("name", SINGLE)
def test_a_single_token_is_the_one_of_the_largest_weight(name, temperature, through):
    token_B, x_BE, _ = run(name, temperature=temperature, through=through)
    np.testing.assert_array_equal(token_B, weights(name, LOGITS, temperature).argmax(axis=1))
    np.testing.assert_array_equal(x_BE, TABLE[token_B])  # to the last bit


@pytest.mark.parametrize("temperature", [0.4, 2.5])
@pytest.mark.parametrize("name", MIXTURES)
def test_through_a_mixture_flows_its_gradient(name, temperature):
    _, _, gradient = run(name, temperature=temperature, through=True)
    loss = functools.partial(mixture_loss, name=name, temperature=temperature)
    reference.check_gradient(gradient, loss, FLOAT64, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
@pytest.mark.parametrize("name", SINGLE)
def test_through_a_single_token_flows_the_gradient_of_its_mixture(name, temperature):
    """Straight through: d/dz_v of sum_u w_u table_u . o is w_v (table_v . o - that sum)."""
    _, _, gradient = run(name, temperature=temperature, through=True)
    weight_BV = weights(name, FLOAT64["logits"], temperature)
    worth_BV = OUTPUT @ FLOAT64["table"].T
    mean_B1 = (weight_BV * worth_BV).sum(axis=1, keepdims=True)
    want_BV = weight_BV * (worth_BV - mean_B1) / temperature
    np.testing.assert_allclose(gradient["logits"], want_BV, **ROUNDING)
    np.testing.assert_allclose(gradient["table"], weight_BV.T @ OUTPUT, **ROUNDING)
    assert (abs(want_BV) > 1e-3).sum() > V


@pytest.mark.parametrize("name", FEEDS)
def test_without_it_only_the_embeddings_learn(name):
    token_B, _, gradient = run(name)
    np.testing.assert_array_equal(gradient["logits"], 0.0)
    weight_BV = weights(name, LOGITS, 1.0) if name in MIXTURES else np.eye(V)[token_B]
    np.testing.assert_allclose(gradient["table"], weight_BV.T @ OUTPUT, **ROUNDING)


@pytest.mark.parametrize(("name", "single"), [("gumbel", "sample"), ("softmax_mixture", "argmax")])
def test_a_cold_mixture_is_a_single_token(name, single):
    """The noise is the same, so that each gumbel mixture shrinks to the token of its own draw."""
    token_B, x_BE, _ = run(name, temperature=1e-3)
    want_B, want_BE, _ = run(single)
    np.testing.assert_array_equal(token_B, want_B)
    np.testing.assert_allclose(x_BE, want_BE, **ROUNDING)


@pytest.mark.parametrize(
    ("top_k", "same"), [(1, "argmax"), (V, "softmax_mixture"), (99, "softmax_mixture")]
)
def test_top_k_lies_between_argmax_and_all(top_k, same):
    token_B, x_BE, _ = run("top_k_mixture", temperature=0.7, top_k=top_k)
    want_B, want_BE, _ = run(same, temperature=0.7)
    np.testing.assert_array_equal(token_B, want_B)
    np.testing.assert_allclose(x_BE, want_BE, **ROUNDING)


COPIES = 4000


def shares(name, temperature=1.0):
    """How often each token is fed, of many draws from one prediction."""
    keys = jax.random.split(jax.random.key(8), COPIES)
    token_B, _, _ = run(name, np.tile(LOGITS[:1], (COPIES, 1)), keys, temperature)
    return np.bincount(token_B, minlength=V) / COPIES


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("name", ["sample", "gumbel"])
def test_draws_are_as_frequent_as_the_model_says(name, temperature):
    """Five standard errors of a binomial for each token. The temperature sharpens what `sample`
    draws; of a gumbel mixture it sharpens the weights, and the likeliest token stays a draw from
    the model's own distribution."""
    scale = temperature if name == "sample" else 1.0
    share_V = np.exp(reference.log_softmax(FLOAT64["logits"][0] / scale))
    error_V = np.sqrt(share_V * (1 - share_V) / COPIES)
    assert (abs(shares(name, temperature) - share_V) < 5 * error_V).all()


def test_uniform_feeds_words_alone_and_all_alike():
    share = 1 / (V - 4)
    error = np.sqrt(share * (1 - share) / COPIES)
    share_V = shares("uniform")
    np.testing.assert_array_equal(share_V[:4], 0.0)
    assert (abs(share_V[4:] - share) < 5 * error).all()


def test_uniform_is_deaf_to_the_model():
    np.testing.assert_array_equal(run("uniform")[0], run("uniform", -LOGITS)[0])


@pytest.mark.parametrize("name", FEEDS)
def test_a_row_depends_on_itself_alone(name):
    order = np.array([4, 0, 5, 1, 3, 2])
    there, here = run(name, LOGITS[order], KEYS[order]), run(name)
    for moved, at_home in zip(there[:2], here[:2], strict=True):
        np.testing.assert_allclose(moved, at_home[order], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "products"), [("argmax", 0), ("sample", 0), ("uniform", 0), ("softmax_mixture", 1)]
)
def test_a_token_costs_no_product_with_the_table(name, products):
    embedding = nnx.merge(GRAPHDEF, {"table": jnp.asarray(TABLE)})
    program = jax.make_jaxpr(lambda logits_BV: Feed(name)(logits_BV, KEYS, embedding))(LOGITS)
    assert str(program).count("dot_general") == products


def test_the_config_names_the_feeds():
    assert set(CHOICES["teacher_forcing.feed"]) == set(FEEDS)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"teacher_forcing.feed": "uniform", "teacher_forcing.gradient": "through"},
            "asks no prediction; take none",
        ),
        ({"teacher_forcing.passes": 1}, "is for model.decoder.kind = transformer"),
        ({"teacher_forcing.temperature": 1e-7}, "has to be at least 1e-06"),
    ],
)
def test_a_config_that_makes_no_sense_says_why(overrides, words):
    with pytest.raises(InputError) as error:
        configs.load("configs/default.py", overrides)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"teacher_forcing.feed": "softmax_mixture", "teacher_forcing.gradient": "through"},
        {"teacher_forcing.passes": 2, "model.decoder.kind": "transformer"},
    ],
)
def test_their_neighbours_pass(overrides):
    configs.load("configs/default.py", overrides)
