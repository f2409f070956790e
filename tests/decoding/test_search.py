import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.decoding.predictor import Predictor
from seq2seq_jax.decoding.search import Sampling, greedy, sample, shape_distribution
from seq2seq_jax.decoding.strategies import BeamSearch, Sample
from seq2seq_jax.decoding.topk import top_k
from seq2seq_jax.types import BOS, EOS, PAD, UNK, InputError
from tests.small import SOURCE_SIZE, TARGET_SIZE, rows, small_model

POSITIONS = 5


def model(**overrides):
    graphdef, params = small_model(**overrides)
    return nnx.merge(graphdef, params)


def sampling(temperature=1.0, top_k=0, top_p=1.0):
    return Sampling(jnp.float32(temperature), jnp.int32(top_k), jnp.float32(top_p))


def keys(seed, *places):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.array(places))


@jax.jit
def draw(source_BS, limit_B, sampling, key_B):
    return sample(Predictor([model()]), source_BS, limit_B, sampling, key_B, positions=POSITIONS)


def plain_distribution(logit_V, temperature, top_k, top_p):
    """Softmax, cut after k tokens, normalised, cut where the mass is reached, normalised."""
    p_V = np.exp(logit_V / temperature - np.max(logit_V / temperature))
    order = sorted(range(len(p_V)), key=lambda v: -p_V[v])[: top_k or len(p_V)]
    mass, kept = 0.0, []
    for v in order:
        if mass < top_p * sum(p_V[order]):
            kept.append(v)
        mass += p_V[v]
    return np.array([p_V[v] if v in kept else 0.0 for v in range(len(p_V))]) / sum(p_V[kept])


@pytest.mark.parametrize(
    ("temperature", "k", "p"),
    [(1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 3, 1.0), (1.0, 0, 0.6), (1.3, 4, 0.7), (1.0, 0, 1e-6)],
)
def test_what_is_drawn_from(temperature, k, p):
    logit_BV = np.random.default_rng(0).normal(size=(3, TARGET_SIZE)).astype(np.float32)
    logit_BV[:, [PAD, BOS]] = -np.inf
    shaped_BV = shape_distribution(jnp.asarray(logit_BV), sampling(temperature, k, p))
    for logit_V, shaped_V in zip(logit_BV, jax.nn.softmax(shaped_BV), strict=True):
        expected = plain_distribution(logit_V.astype(float), temperature, k, p)
        np.testing.assert_allclose(shaped_V, expected, rtol=1e-5, atol=1e-7)


def test_drawn_tokens_have_their_frequencies():
    """The first token of 4,000 draws: within four standard deviations of p for each token."""
    count, source_S = 4000, rows((4,), 4, SOURCE_SIZE)[0]
    source_BS = jnp.broadcast_to(source_S, (count, 4))
    found = draw(source_BS, jnp.ones(count, int), sampling(1.5), keys(0, *range(count)))
    predictor = Predictor([model()])
    states, sources = predictor.start(source_BS[:1], None, 1)
    logit_V = np.array(predictor(states, jnp.array([BOS]), sources).logit_BV[0], float)
    logit_V[[PAD, BOS]] = -np.inf
    p_V = plain_distribution(logit_V, 1.5, 0, 1.0)
    drawn_V = np.bincount(np.asarray(found.token_BNT[:, 0, 0]), minlength=TARGET_SIZE) / count
    assert (abs(drawn_V - p_V) <= 4 * np.sqrt(p_V * (1 - p_V) / count) + 1e-9).all()


def test_a_draw_depends_on_its_own_key_alone():
    source_BS, limit_B = rows((5, 3, 1), 5, SOURCE_SIZE), jnp.array([5, 4, 5])
    found = draw(source_BS, limit_B, sampling(2.0), keys(3, 0, 1, 2))
    again = draw(source_BS[::-1].copy(), limit_B[::-1], sampling(2.0), keys(3, 2, 1, 0))
    np.testing.assert_array_equal(found.token_BNT, again.token_BNT[::-1])
    other = draw(source_BS, limit_B, sampling(2.0), keys(4, 0, 1, 2))
    assert (np.asarray(found.token_BNT) != other.token_BNT).any()


def test_the_likeliest_token_alone_is_greedy_search():
    source_BS, limit_B = jnp.asarray(rows((5, 3, 0), 5, SOURCE_SIZE)), jnp.array([5, 4, 5])
    expected = greedy(Predictor([model()]), source_BS, limit_B, positions=POSITIONS)
    found = draw(source_BS, limit_B, sampling(top_k=1), keys(0, 0, 1, 2))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    # Log probabilities are the model's, whatever was drawn from: not those of a sure thing.
    assert (np.asarray(found.log_p_BN[:2]) < -0.1).all()


def test_the_unknown_token_can_be_kept_out():
    fond = model()
    fond.decoder.output_bias[...] = fond.decoder.output_bias[...].at[UNK].add(9.0)
    source_BS, limit_B = jnp.asarray(rows((5, 3), 5, SOURCE_SIZE)), jnp.array([5, 4])
    for unknown in (True, False):
        found = greedy(Predictor([fond], unknown), source_BS, limit_B, positions=POSITIONS)
        assert (np.asarray(found.token_BNT) == UNK).any() == unknown


def test_an_ensemble_averages_probabilities():
    others = {"attention.score": "concat", "decoder.cell": "gru"}, {"attention.score": "none"}
    models = [model(), *(model(**other) for other in others)]
    source_BS = jnp.asarray(rows((5, 3), 5, SOURCE_SIZE))
    token_B = jnp.array([4, 7])
    predictions = []
    for predictor in (Predictor(models), *(Predictor([one]) for one in models)):
        states, sources = predictor.start(source_BS, None, 1)
        predictions.append(predictor(states, token_B, sources))
    together, *alone = (np.asarray(jax.nn.softmax(each.logit_BV)) for each in predictions)
    np.testing.assert_allclose(together, np.mean(alone, axis=0), rtol=1e-5)
    together, *attending, _ = (np.asarray(each.alignment_BS) for each in predictions)
    np.testing.assert_allclose(together, np.mean(attending, axis=0), rtol=1e-5)


@pytest.mark.parametrize("count", [5, 130, 128, 330, 640])
@pytest.mark.parametrize("k", [1, 4])
def test_the_largest_of_many(count, k):
    """Also where there are equals, and next to nothing else."""
    rng = np.random.default_rng(count)
    for x in (
        rng.normal(size=(4, count)),
        rng.integers(0, 3, (4, count)),
        rng.choice(4, (4, count), p=(0.96, 0.02, 0.01, 0.01)),  # equals in blocks of unlike maxima
        np.tile(np.arange(count), (4, 1)),  # the last one is the largest
        np.where(rng.random((4, count)) < 0.02, rng.normal(size=(4, count)), -np.inf),
    ):
        x_BN = jnp.asarray(x, jnp.float32)
        value_Bk, index_Bk = top_k(x_BN, k)
        order = np.argsort(-np.asarray(x_BN), axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(value_Bk, np.take_along_axis(np.asarray(x_BN), order, 1))
        finite = np.isfinite(value_Bk)
        np.testing.assert_array_equal(np.asarray(index_Bk)[finite], order[finite])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BeamSearch(3, n_best=4), "1 to 3"),
        (lambda: BeamSearch(0), "a beam of 0: less than 1"),
        (lambda: BeamSearch(length_alpha=float("nan")), "length_alpha=nan"),
        (lambda: BeamSearch(length_alpha=60.0), "length_alpha=60.0: .* at most 10"),
        (lambda: Sample(temperature=float("inf")), "temperature=inf"),
        (lambda: BeamSearch(length_penalty="wu"), "not one of none, average, power, gnmt"),
        (lambda: BeamSearch(coverage_penalty=-1.0), "coverage_penalty=-1.0: .*at least 0"),
        (lambda: BeamSearch(coverage_penalty=float("nan")), "coverage_penalty=nan"),
        (lambda: Sample(temperature=1e-38), "temperature=1e-38: it has to be 1e-06 or more"),
        (lambda: Sample(top_p=0.0), "top_p=0.0"),
        (lambda: Sample(top_k=-1), "top_k=-1"),
        (lambda: Sample(draws=0), "draws=0"),
        (lambda: Sample(seed=2**32), "seed=4294967296: .* at most 2.14748e"),
    ],
)
def test_values_out_of_range(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_end_token_is_the_last_one():
    source_BS, limit_B = jnp.asarray(rows((5, 3, 4), 5, SOURCE_SIZE)), jnp.array([5, 5, 5])
    token_BT = np.asarray(draw(source_BS, limit_B, sampling(3.0), keys(1, 0, 1, 2)).token_BNT[:, 0])
    for token_T in token_BT:
        words = token_T[token_T != PAD]
        assert (words[:-1] != EOS).all()
        assert (token_T[len(words) :] == PAD).all()


def test_each_step_has_a_draw_of_its_own():
    """From what is as good as uniform; with one key for all steps a row would repeat one token."""
    source_BS = jnp.asarray(rows((5, 3, 4), 5, SOURCE_SIZE))
    found = draw(source_BS, jnp.full(3, 5), sampling(1e6), keys(1, 0, 1, 2))
    assert max(len({*token_T}) for token_T in np.asarray(found.token_BNT[:, 0]).tolist()) > 2
