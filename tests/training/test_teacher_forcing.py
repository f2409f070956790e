"""Who is fed gold, counted; what else is fed, counted; and who can see what."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.models.layers import Noise
from seq2seq_jax.training.feeds import FEEDS
from seq2seq_jax.training.teacher_forcing import (
    GRANULARITIES,
    coin_counts,
    ratio_at,
    shift_right,
)
from tests import reference
from tests.small import (
    ROUNDING,
    TARGET_SIZE,
    pad,
    rows,
    small_config,
    small_model,
    take,
)
from tests.training.free_run import (
    ALL,
    BATCH,
    KEY,
    RECURRENT,
    TEMPERATURE,
    TRANSFORMER,
    forced,
    run,
)


def test_gold_inputs_are_the_target_moved_one_to_the_right():
    got = shift_right(jnp.array([[5, 6, 2], [7, 2, 0]]))
    np.testing.assert_array_equal(got, [[1, 5, 6], [1, 7, 2]])


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_ratio_1_is_the_forced_path(granularity):
    unrolled, _ = run(1.0, granularity=granularity)
    want = forced()(small_model()[1], jnp.asarray(BATCH.source_BS), jnp.asarray(BATCH.target_BT))
    np.testing.assert_array_equal(unrolled.fed_BT, want.fed_BT)
    assert unrolled.gold_BT.all() and want.gold_BT.all()
    np.testing.assert_allclose(unrolled.readout_BTH, want.readout_BTH, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(unrolled.alignment_BTNS, want.alignment_BTNS, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_ratio_0_feeds_the_argmax_of_the_step_before(granularity):
    unrolled, logits_BTV = run(0.0, granularity=granularity)
    assert not unrolled.gold_BT[:, 1:].any()
    np.testing.assert_array_equal(unrolled.fed_BT[:, 0], 1)  # the start token
    np.testing.assert_array_equal(unrolled.fed_BT[:, 1:], logits_BTV.argmax(-1)[:, :-1])


@pytest.mark.parametrize("feed", FEEDS)
def test_where_the_coin_says_gold_gold_is_fed(feed):
    unrolled, _ = run(0.5, feed=feed)
    gold_BT = np.array(unrolled.gold_BT)
    assert gold_BT[:, 0].all() and 0 < gold_BT[:, 1:].mean() < 1
    want_BT = np.array(shift_right(jnp.asarray(BATCH.target_BT)))
    np.testing.assert_array_equal(np.array(unrolled.fed_BT)[gold_BT], want_BT[gold_BT])


@pytest.mark.parametrize("feed", FEEDS)
def test_a_ratio_of_0_is_blind_to_gold(feed):
    other = BATCH._replace(target_BT=rows((5, 2, 4, 5), 5, TARGET_SIZE, seed=99))
    assert (other.target_BT != BATCH.target_BT).any(axis=1).all()
    jax.tree.map(np.testing.assert_array_equal, run(0.0, feed=feed), run(0.0, other, feed=feed))
    # The probe would notice: with gold it does make a difference.
    assert (run(1.0, feed=feed)[0].readout_BTH != run(1.0, other, feed=feed)[0].readout_BTH).any()


class TestCoins:
    """Uniform numbers in [0, 1); gold is fed where one lies below the ratio."""

    INDEX = jnp.arange(60)

    def coins(self, granularity, key=KEY, index_B=INDEX, positions=50):
        return np.array(GRANULARITIES[granularity](key, index_B, positions))

    @pytest.mark.parametrize("granularity", GRANULARITIES)
    @pytest.mark.parametrize("ratio", [0.25, 0.75])
    def test_the_realised_share_is_the_ratio(self, granularity, ratio):
        """Five standard errors of a binomial, with as many throws as are independent."""
        keys = jax.random.split(KEY, 400)
        coins = jax.vmap(lambda k: GRANULARITIES[granularity](k, jnp.arange(5), 6))(keys)
        throws = {"token": 30, "step": 6, "sequence": 5, "batch": 1}[granularity] * 400
        error = np.sqrt(ratio * (1 - ratio) / throws)
        assert abs(float((coins < ratio).mean()) - ratio) < 5 * error

    def test_token_is_a_coin_for_each_example_and_step(self):
        coins = self.coins("token")
        assert len(np.unique(coins)) > 0.999 * coins.size  # 2^23 values: a few may repeat
        # Neighbours in either direction do not go together.
        gold = (coins < 0.5).astype(float) - 0.5
        for one, other in ((gold[1:], gold[:-1]), (gold[:, 1:], gold[:, :-1])):
            assert abs((4 * one * other).mean()) < 5 / np.sqrt(one.size)

    def test_step_is_shared_by_the_batch(self):
        coins = self.coins("step")
        np.testing.assert_array_equal(coins, np.broadcast_to(coins[:1], coins.shape))
        assert len(np.unique(coins[0])) == 50

    def test_sequence_is_kept_for_the_sequence(self):
        coins = self.coins("sequence")
        np.testing.assert_array_equal(coins, np.broadcast_to(coins[:, :1], coins.shape))
        assert len(np.unique(coins[:, 0])) == 60

    def test_batch_is_one_coin(self):
        assert len(np.unique(self.coins("batch"))) == 1
        assert self.coins("batch")[0, 0] != self.coins("batch", jax.random.key(12))[0, 0]

    @pytest.mark.parametrize("granularity", GRANULARITIES)
    def test_padding_and_the_batch_around_change_no_coin(self, granularity):
        coins = self.coins(granularity)
        order = np.array([7, 3, 59])
        some = self.coins(granularity, index_B=jnp.array([7, 3, 59, -1]), positions=64)
        np.testing.assert_array_equal(some[:3, :50], coins[order])

    @pytest.mark.parametrize("granularity", GRANULARITIES)
    def test_another_key_throws_anew(self, granularity):
        assert (self.coins(granularity) != self.coins(granularity, jax.random.key(12))).all()


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_unroll_follows_the_granularity(granularity):
    """Coins reach the decoder as thrown; the first step has none."""
    keys = jax.random.split(KEY, 10)
    runs = [run(0.5, granularity=granularity, key=key)[0] for key in keys]
    gold = np.array([unrolled.gold_BT[:, 1:] for unrolled in runs])
    assert 0.2 < gold.mean() < 0.8
    across_batch, over_time = (gold == gold[:, :1]).all(), (gold == gold[:, :, :1]).all()
    assert across_batch == (granularity in ("step", "batch"))
    assert over_time == (granularity in ("sequence", "batch"))


# Three rows of BATCH in another order, among more padding and with a row of filler.
ORDER = np.array([2, 3, 0])
AROUND = pad(take(BATCH, ORDER), rows=1, source=2, target=2)


@pytest.mark.parametrize(("feed", "passes"), [("sample", 0), ("uniform", 0), ("sample", ALL)])
def test_what_an_example_is_fed_depends_on_nothing_around_it(feed, passes):
    unrolled, logits_BTV = run(0.5, feed=feed, passes=passes)
    other, other_BTV = run(0.5, AROUND, feed=feed, passes=passes)
    real_BT = BATCH.target_BT[ORDER] != 0
    want_BT, got_BT = np.array(unrolled.fed_BT)[ORDER], np.array(other.fed_BT)[:3, :5]
    np.testing.assert_array_equal(got_BT[real_BT], want_BT[real_BT])
    # The logits depend on the vectors fed, of which the tokens show only the largest part.
    want_BTV, got_BTV = np.array(logits_BTV)[ORDER], np.array(other_BTV)[:3, :5]
    np.testing.assert_allclose(got_BTV[real_BT], want_BTV[real_BT], **ROUNDING)


def test_coin_counts_are_those_of_real_positions_after_the_first():
    unrolled, _ = run(0.5, AROUND, feed="sample")
    gold, coins = coin_counts(unrolled, jnp.asarray(AROUND.target_BT))
    lengths = (4, 5, 5)
    assert coins == sum(length - 1 for length in lengths)
    gold_BT = np.array(unrolled.gold_BT)
    assert gold == sum(gold_BT[row, 1:length].sum() for row, length in enumerate(lengths))


def chi_square(tokens, share_V):
    """Sum of (seen - expected)^2 / expected over the vocabulary."""
    seen_V = np.bincount(np.ravel(tokens), minlength=len(share_V))
    want_V = share_V * np.size(tokens)
    assert (seen_V[want_V == 0] == 0).all()
    return ((seen_V - want_V)[want_V > 0] ** 2 / want_V[want_V > 0]).sum()


class TestMany:
    """2000 copies of one example, told apart by their index alone."""

    BOUND = 37.7  # chi-square with 12 degrees of freedom exceeds it once in 6000 times; with
    # fewer more rarely; the seed is fixed.

    @functools.cached_property
    def copies(self):
        one = take(BATCH, [0] * 2000)
        return one._replace(index_B=np.arange(2000, dtype=np.int32))

    def test_the_realised_share_of_a_quarter(self):
        unrolled, _ = run(0.25, self.copies, feed="sample")
        gold, coins = coin_counts(unrolled, jnp.asarray(self.copies.target_BT))
        assert coins == 2000 * 4
        assert abs(float(gold / coins) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 8000)

    def test_samples_follow_the_models_distribution(self):
        unrolled, logits_BTV = run(0.0, self.copies, feed="sample")
        share_V = np.exp(reference.log_softmax(np.float64(logits_BTV[0, 0]) / TEMPERATURE))
        assert chi_square(unrolled.fed_BT[:, 1], share_V) < self.BOUND
        # Each step draws anew: it repeats the token before as often as its distribution says.
        first_B = np.array(unrolled.fed_BT[:, 1])
        second_BV = np.exp(reference.log_softmax(np.float64(logits_BTV[:, 1]) / TEMPERATURE))
        repeats = np.mean(unrolled.fed_BT[:, 2] == first_B)
        assert abs(repeats - second_BV[np.arange(2000), first_B].mean()) < 5 * 0.5 / 2000**0.5


class TestPasses:
    """Over the whole target at once, as often as it takes."""

    NOISE = Noise(jax.random.key(3), jnp.float32(0.2), jnp.float32(0.3))

    @pytest.mark.parametrize(
        ("feed", "model", "noise"),
        [
            ("argmax", RECURRENT, None),
            ("sample", RECURRENT, None),
            ("softmax_mixture", RECURRENT, None),
            ("gumbel", TRANSFORMER, NOISE),
        ],
    )
    def test_enough_of_them_are_the_same_as_step_by_step(self, feed, model, noise):
        """Coins, draws and dropout included; the sums of a product may be ordered differently."""
        want, want_BTV = run(0.4, noise=noise, feed=feed, model=model)
        got, logits_BTV = run(0.4, noise=noise, feed=feed, model=model, passes=ALL)
        np.testing.assert_array_equal(got.fed_BT, want.fed_BT)
        np.testing.assert_array_equal(got.gold_BT, want.gold_BT)
        np.testing.assert_allclose(got.alignment_BTNS, want.alignment_BTNS, **ROUNDING)
        np.testing.assert_allclose(logits_BTV, want_BTV, **ROUNDING)

    def test_each_pass_gets_one_more_position_right(self):
        steps_BTV, one_BTV, two_BTV = (
            run(0.0, feed="softmax_mixture", passes=passes)[1] for passes in (0, 1, 2)
        )
        np.testing.assert_allclose(one_BTV[:, :2], steps_BTV[:, :2], **ROUNDING)
        assert (abs(one_BTV - steps_BTV)[:, 2] > 1e-4).any(axis=1).all()
        np.testing.assert_allclose(two_BTV[:, :3], steps_BTV[:, :3], **ROUNDING)

    def test_one_pass_predicts_from_gold(self):
        """The two passes of Mihaylova & Martins (2019)."""
        unrolled, _ = run(0.4, feed="softmax_mixture", passes=1)
        batch = jax.tree.map(jnp.asarray, BATCH)
        after_gold = forced()(small_model()[1], batch.source_BS, batch.target_BT)
        decoder = nnx.merge(*small_model()).decoder
        said_BT = decoder.logits(after_gold.readout_BTH).argmax(axis=-1)
        gold_BT = np.array(unrolled.gold_BT)
        want_BT = np.where(gold_BT, shift_right(batch.target_BT), np.roll(said_BT, 1, axis=1))
        np.testing.assert_array_equal(unrolled.fed_BT, want_BT)
        assert gold_BT[:, 0].all() and 0 < gold_BT[:, 1:].mean() < 1

    def test_ratio_1_is_the_forced_path(self):
        unrolled, _ = run(1.0, feed="softmax_mixture", passes=1)
        batch = jax.tree.map(jnp.asarray, BATCH)
        want = forced()(small_model()[1], batch.source_BS, batch.target_BT)
        np.testing.assert_array_equal(unrolled.fed_BT, want.fed_BT)
        np.testing.assert_allclose(unrolled.readout_BTH, want.readout_BTH, **ROUNDING)


def forcing(**values):
    config = small_config().teacher_forcing
    config.update_from_flattened_dict(values)
    return config


@pytest.mark.parametrize("step", [0, 1, 7, 100, 1000])
@pytest.mark.parametrize(
    ("name", "decay"),
    [("constant", 1.0), ("linear", 0.002), ("exponential", 0.99), ("inverse_sigmoid", 20.0)],
)
@pytest.mark.parametrize(("start", "floor"), [(1.0, 0.0), (0.8, 0.3)])
def test_schedules_are_those_of_the_paper(name, decay, step, start, floor):
    got = ratio_at(forcing(schedule=name, decay=decay, ratio=start, floor=floor), step)
    assert got == pytest.approx(reference.schedule(name, step, start, decay, floor), rel=1e-12)
    assert floor <= got <= start


def test_a_constant_ratio_has_no_floor():
    assert ratio_at(forcing(schedule="constant", ratio=0.2, floor=0.5), 100) == 0.2


@pytest.mark.parametrize("name", ["linear", "exponential", "inverse_sigmoid"])
def test_schedules_fall_and_end_at_their_floor(name):
    decay = {"linear": 1e-3, "exponential": 0.999, "inverse_sigmoid": 100.0}[name]
    config = forcing(schedule=name, decay=decay, floor=0.1)
    ratios = [ratio_at(config, step) for step in range(0, 5000, 50)]
    assert all(one >= other for one, other in itertools.pairwise(ratios))
    assert ratios[0] > 0.99 and ratios[-1] == 0.1
    assert ratio_at(config, 10**9) == 0.1  # no overflow
