"""Gold links on their way to a batch: shares of tokens, pairs that have none, filler rows."""

import numpy as np
import pytest

from seq2seq_jax.data import Data, encode, gold_shares
from seq2seq_jax.data.batching import Batches, StackedBatches, make_iterator
from seq2seq_jax.data.links import share_out
from seq2seq_jax.data.vocabulary import Vocabulary
from seq2seq_jax.types import SPECIALS, InputError, Pair, Splits

SOURCE_SIZES, TARGET_SIZES = [2, 1, 3, 0], [1, 2, 0, 1, 1]
LINKS = [(0, 1), (2, 1), (1, 3), (3, 3), (2, 2), (2, 1), (3, 4)]  # some with a word of no token


def dense(shares, target, source):
    found = np.zeros((target, source))
    for (t, s), share in zip(shares.place_G2, shares.share_G, strict=True):
        found[t, s] += share
    return found


def test_a_linked_token_looks_at_all_tokens_of_its_words_alike():
    """The matrix of links between the matrices of which token is of which word."""
    links = np.zeros((5, 4))
    links[tuple(np.array(LINKS)[:, ::-1].T)] = 1
    of_target, of_source = (
        np.repeat(np.eye(len(sizes)), sizes, axis=0) for sizes in (TARGET_SIZES, SOURCE_SIZES)
    )
    asked = of_target @ links @ of_source.T
    asked /= np.maximum(asked.sum(axis=1, keepdims=True), 1)
    found = dense(share_out(LINKS, SOURCE_SIZES, TARGET_SIZES), 5, 6)
    np.testing.assert_allclose(found, asked, atol=1e-7)


def test_no_links_ask_for_nothing():
    assert not dense(share_out((), [], []), 2, 2).any()


PAIRS = [
    Pair("a b", "b a", ((0, 1), (1, 0))),
    Pair("b", "b b", None),
    Pair("a b a", "a", ((0, 0), (2, 0))),
    Pair("b b", "a a", (), (), ((0, 0),)),
]


def data(pairs, kind="space"):
    letters = Vocabulary(kind, False, "none", (*SPECIALS, "a", "b", " "))
    encoded = {"train": encode(pairs, letters, letters)}
    return Data(letters, letters, Splits(pairs, [], []), encoded)


def run(seed=None):
    found = data(PAIRS)
    train = found.encoded["train"]
    return Batches(train.source, train.target, [(3, 3), (5, 4)], 3, seed, gold_shares(found))


WANTED = {0: {(0, 1): 1, (1, 0): 1}, 1: {}, 2: {(0, 0): 0.5, (0, 2): 0.5}, 3: {}}


def assert_gold(batch):
    for row, index in zip(batch.gold_BTS, batch.index_B, strict=True):
        wanted = np.zeros((batch.target_BT.shape[-1], batch.source_BS.shape[-1]))
        for at, share in WANTED.get(int(index), {}).items():
            wanted[at] = share
        np.testing.assert_array_equal(row, wanted)


@pytest.mark.parametrize("seed", [None, 5])
def test_each_row_of_a_batch_has_its_own_shares_and_filler_rows_none(seed):
    batches = run(seed)
    for i in range(batches.per_epoch):
        assert_gold(batches[i])


def test_blank_batches_have_the_shapes_of_others():
    batches = run()
    blanks = {batch.source_BS.shape: batch for batch in batches.blanks()}
    for i in range(batches.per_epoch):
        blank = blanks[batches[i].source_BS.shape]
        assert blank.gold_BTS.shape == batches[i].gold_BTS.shape
        assert not blank.gold_BTS.any()


def test_batches_side_by_side_and_of_worker_processes_have_them_too():
    batches = run(0)
    stacked = StackedBatches([batches.with_seed(seed) for seed in (0, 1)])[1]
    for member, seed in enumerate((0, 1)):
        alone = batches.with_seed(seed)[1]
        np.testing.assert_array_equal(stacked.gold_BTS[member], alone.gold_BTS)
    iterator = make_iterator(batches, 1, 2)
    assert_gold(next(iterator))
    iterator.close()


def test_without_guidance_there_are_none():
    train = data(PAIRS).encoded["train"]
    batches = Batches(train.source, train.target, [(5, 4)], 3)
    assert batches[0].gold_BTS is batches.blanks()[0].gold_BTS is None


def test_tokens_of_words_are_found():
    shares = gold_shares(data([Pair("ab a", "b ba", ((0, 1),))], "character"))
    found = dense(shares[0], 4, 4)
    np.testing.assert_allclose(found[2:], [[1 / 3, 1 / 3, 1 / 3, 0]] * 2, rtol=1e-6)
    assert not found[:2].any()


@pytest.mark.parametrize("links", [None, ()])
def test_guidance_needs_links(links):
    pairs = [Pair("a", "b", links)]
    with pytest.raises(InputError, match=r"train\.guided_alignment needs gold links, and no pair"):
        gold_shares(data(pairs))


def test_a_pair_whose_words_cannot_be_told_is_named_with_its_split():
    pairs = [Pair("a  b", "b", ((0, 0),))]
    with pytest.raises(
        InputError, match=r"^train: gold links count words, but 'a  b' has 4 tokens"
    ):
        gold_shares(data(pairs, "character"))
    unlinked = [Pair("a", "b", ((0, 0),)), Pair("a  b", "b", ())]
    assert len(gold_shares(data(unlinked, "character"))) == 2
