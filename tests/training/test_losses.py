import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seq2seq_jax.models.layers import OutputLayer
from seq2seq_jax.training import losses
from seq2seq_jax.training.losses import cross_entropy, sentence_sums
from tests import reference
from tests.small import rows

RANDOM = np.random.default_rng(0)
READOUT = jnp.asarray(RANDOM.standard_normal((4, 5, 3)), jnp.float32)
LAYER = OutputLayer(
    jnp.asarray(2 * RANDOM.standard_normal((3, 7)), jnp.float32),
    jnp.asarray(RANDOM.standard_normal(7), jnp.float32),
    "float32",
)
LOGITS = np.float64(READOUT) @ np.float64(LAYER.kernel_HV) + np.float64(LAYER.bias_V)
TARGET = jnp.asarray(rows((5, 2, 0, 1), 5, 7))
REAL = [(b, t) for b in range(4) for t in range(5) if TARGET[b, t]]
SIZES = [20, 6, 2]  # tokens a block: one block for all; several, the last one not full; many


@pytest.fixture(autouse=True)
def never_few(monkeypatch):
    monkeypatch.setattr(losses, "FEW", 0)


@pytest.fixture(params=SIZES)
def entropy(request, monkeypatch):
    monkeypatch.setitem(losses.BLOCK, "cpu", request.param)
    return cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_sums_are_those_of_the_paper(entropy, smoothing):
    sums = entropy(READOUT, LAYER, TARGET, smoothing)

    def total(smoothing):
        gold = np.array(TARGET)
        each = (reference.smoothed_cross_entropy(LOGITS[at], gold[at], smoothing) for at in REAL)
        return sum(each)

    np.testing.assert_allclose(sums.objective, total(smoothing), rtol=1e-6)
    np.testing.assert_allclose(sums.loss, total(0.0), rtol=1e-6)  # never smoothed
    assert sums.tokens == 8
    assert sums.correct == sum(np.argmax(LOGITS[at]) == TARGET[at] for at in REAL)


@pytest.mark.parametrize(("size", "shards"), [(20, 1), (6, 1), (2, 4)])
def test_blocks_are_those_that_the_loss_goes_through(size, shards, monkeypatch):
    monkeypatch.setitem(losses.BLOCK, "cpu", size)
    compare, seen = losses._compare, []

    def counted(logits_KV, gold_K, smoothing):
        jax.debug.callback(lambda gold_K: seen.append(len(gold_K)), gold_K)
        return compare(logits_KV, gold_K, smoothing)

    monkeypatch.setattr(losses, "_compare", counted)
    for share in zip(jnp.split(READOUT, shards), jnp.split(TARGET, shards), strict=True):
        cross_entropy(share[0], LAYER, share[1])
    jax.effects_barrier()
    blocks, in_blocks = losses.loss_blocks(np.array(TARGET), 7, shards)
    assert (blocks, in_blocks) == (len(seen), sum(seen))


@pytest.mark.parametrize("few", [20 * 7, 20 * 7 - 1])
def test_few_logits_are_made_at_once(few, monkeypatch):
    monkeypatch.setitem(losses.BLOCK, "cpu", 2)
    monkeypatch.setattr(losses, "FEW", few)
    program = jax.make_jaxpr(lambda readout: cross_entropy(readout, LAYER, TARGET))(READOUT)
    assert ("while" in str(program)) == (few < LOGITS.size)


def test_more_logits_than_few_make_blocks_of_the_usual_size(monkeypatch):
    """One token more adds no second block as large as all that were at once."""
    monkeypatch.setitem(losses.BLOCK, "cpu", 4)
    monkeypatch.setattr(losses, "FEW", 20 * 7)
    assert [losses.block_size(n, 7) for n in (3, 19, 20, 21, 22)] == [4, 20, 20, 4, 4]


@pytest.mark.parametrize("size", [20, 6])
def test_sums_of_each_sentence(size, monkeypatch):
    """... are those of the sentence alone; the third has no token."""
    monkeypatch.setitem(losses.BLOCK, "cpu", size)
    found = sentence_sums(READOUT, LAYER, TARGET)
    alone = [sentence_sums(READOUT[b : b + 1], LAYER, TARGET[b : b + 1]) for b in range(4)]
    gold = np.array(TARGET)
    each = {at: reference.smoothed_cross_entropy(LOGITS[at], gold[at], 0.0) for at in REAL}
    for b in range(4):
        own = [at for at in REAL if at[0] == b]
        np.testing.assert_allclose(found.loss[b], sum(each[at] for at in own), rtol=1e-6)
        np.testing.assert_allclose(found.loss[b], alone[b].loss[0], rtol=1e-6)
        assert found.tokens[b] == len(own)
        assert found.correct[b] == sum(np.argmax(LOGITS[at]) == gold[at] for at in own)


def test_slopes_are_probability_minus_smoothed_target(entropy):
    """... times the weights, the readouts and one; those of a multiple of the objective, too."""

    def objective(readout, kernel, bias):
        layer = OutputLayer(kernel, bias, "float32")
        return 3 * entropy(readout, layer, TARGET, 0.1).objective

    found = jax.grad(objective, argnums=(0, 1, 2))(READOUT, LAYER.kernel_HV, LAYER.bias_V)
    slope = np.zeros((4, 5, 7))
    for at in REAL:
        slope[at] = np.exp(reference.log_softmax(LOGITS[at])) - 0.1 / 7
        slope[at][TARGET[at]] -= 0.9
    slope *= 3
    readout, kernel = np.float64(READOUT), np.float64(LAYER.kernel_HV)
    wanted = slope @ kernel.T, np.einsum("bth,btv->hv", readout, slope), slope.sum(axis=(0, 1))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)  # sums of up to 8 terms of 3


def test_nothing_but_the_objective_has_a_slope():
    def others(readout):
        sums = cross_entropy(readout, LAYER, TARGET, 0.1)
        return sums.loss + sums.correct + sums.tokens

    assert not jax.grad(others)(READOUT).any()


def test_correct_counts_the_likeliest_token_at_real_positions(entropy):
    right = 10 * jax.nn.one_hot(TARGET, 7)
    as_they_are = OutputLayer(jnp.eye(7), jnp.zeros(7), "float32")
    assert entropy(right, as_they_are, TARGET).correct == 8
    assert entropy(-right, as_they_are, TARGET).correct == 0
    assert entropy(0 * right, as_they_are, TARGET).correct == 0  # all alike: none is likeliest


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e6])
def test_what_all_logits_share_costs_no_digit(shift):
    layer = OutputLayer(jnp.zeros((3, 4)), jnp.array([-2.0, 0.0, 0.0, -2.0]) + shift, "float32")
    sums = cross_entropy(jnp.zeros((1, 1, 3)), layer, jnp.array([[1]]), 0.3)
    loss = np.log(2 + 2 * np.exp(-2))
    np.testing.assert_allclose(sums.loss, loss, rtol=1e-6)
    np.testing.assert_allclose(sums.objective, 0.7 * loss + 0.3 * (loss + 1), rtol=1e-6)


def test_large_logits_overflow_nothing():
    sums, slopes = jax.value_and_grad(lambda x: cross_entropy(x, LAYER, TARGET, 0.1).objective)(
        1e4 * READOUT
    )
    assert np.isfinite(sums) and np.isfinite(slopes).all()


def test_logits_of_all_tokens_never_exist(monkeypatch):
    """No array of the compiled gradient has as many numbers as the logits of the batch."""
    monkeypatch.setitem(losses.BLOCK, "cpu", 8)
    readout, target = jnp.ones((16, 8, 4)), jnp.ones((16, 8), jnp.int32)
    layer = OutputLayer(jnp.ones((4, 64)), jnp.zeros(64), "float32")

    @jax.jit
    def gradient(readout, kernel):
        layer = OutputLayer(kernel, jnp.zeros(64), "float32")
        return jax.grad(lambda x: cross_entropy(x, layer, target).objective)(readout)

    memory = gradient.lower(readout, layer.kernel_HV).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 16 * 8 * 64 * 4
