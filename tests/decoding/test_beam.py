import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seq2seq_jax.decoding.beam import beam_search
from seq2seq_jax.decoding.penalties import Ranking
from seq2seq_jax.decoding.predictor import Prediction, Predictor
from seq2seq_jax.decoding.search import greedy
from seq2seq_jax.types import EOS, PAD
from tests.decoding import reference_beam as reference
from tests.small import small_model

POSITIONS = 6  # room; more than the longest limit needs
GENERAL = ()
TRANSFORMER = (("decoder.kind", "transformer"), ("decoder.layers", 2), ("transformer.heads", 2))
COVERED = (("attention.heads", 2), ("attention.memory_term", "coverage"), ("decoder.width", 6))


def ranking(alpha=0.0, gnmt=False, coverage=0.0, min_length=0):
    return Ranking(
        jnp.float32(alpha), jnp.asarray(gnmt), jnp.float32(coverage), jnp.int32(min_length)
    )


@functools.cache
def search(model, beam, best, ngram):
    graphdef, params = small_model(**dict(model))

    @jax.jit
    def run(source_BS, limit_B, ranking):
        predictor = Predictor([nnx.merge(graphdef, params)])
        return beam_search(
            predictor, source_BS, limit_B, ranking,
            positions=POSITIONS, beam=beam, best=best, ngram=ngram,
        )  # fmt: skip

    return run


def found(hypotheses, row):
    """[(tokens, score, log p, alignments)] of a row, without what only fills up."""
    parts = zip(*(np.asarray(x[row]) for x in hypotheses), strict=True)
    result = []
    for token_T, score, log_p, alignment_TS in parts:
        tokens = tuple(token_T[token_T != PAD].tolist())
        assert not alignment_TS[len(tokens) :].any()
        result.append((tokens, float(score), float(log_p), alignment_TS[: len(tokens)]))
    return result


def run(model=GENERAL, *, beam, best=1, ngram=0, limits=(4, 4, 3), **penalties):
    """(hypotheses, sources, tables) of three sources of 5, 3 and 1 tokens."""
    source_BS, tables = reference.tables(model)
    hypotheses = search(model, beam, best, ngram)(
        source_BS, np.array(limits, np.int32), ranking(**penalties)
    )
    return hypotheses, source_BS, tables


VARIANTS = [
    (GENERAL, {"beam": 3, "best": 3}),
    (GENERAL, {"beam": 5, "best": 2, "alpha": 1.0}),
    (GENERAL, {"beam": 5, "best": 5, "alpha": 0.6, "gnmt": True, "coverage": 0.4}),
    (GENERAL, {"beam": 3, "best": 3, "alpha": 2.5}),
    (GENERAL, {"beam": 3, "best": 3, "alpha": -1.0}),
    (GENERAL, {"beam": 3, "best": 3, "min_length": 2}),
    (GENERAL, {"beam": 3, "best": 3, "ngram": 1}),
    (GENERAL, {"beam": 3, "best": 3, "ngram": 2, "limits": (4, 2, 1)}),
    (TRANSFORMER, {"beam": 5, "best": 3, "alpha": 0.6, "gnmt": True}),
    (COVERED, {"beam": 5, "best": 3, "alpha": 1.0, "coverage": 0.2}),
]


@pytest.mark.parametrize(("model", "options"), VARIANTS)
def test_the_same_as_a_beam_search_in_plain_python(model, options):
    """Which never stops early: so the rule by which ours stops loses nothing."""
    hypotheses, source_BS, tables = run(model, **options)
    options = {"limits": (4, 4, 3)} | options
    limits, best = options.pop("limits"), options.pop("best")
    penalties = {k: options[k] for k in ("alpha", "gnmt", "coverage") if k in options}
    for row, (source_S, table) in enumerate(zip(source_BS, tables, strict=True)):
        expected = reference.beam_search(table, source_S, limits[row], **options)[:best]
        ours = [one for one in found(hypotheses, row) if np.isfinite(one[1])]
        assert [tokens for tokens, *_ in ours] == expected
        for tokens, score, log_p, alignment_TS in ours:
            of_table = table.of(tokens)
            assert log_p == pytest.approx(of_table[0], rel=1e-5)
            assert score == pytest.approx(
                reference.score(table, tokens, source_S, **penalties), rel=1e-5
            )
            np.testing.assert_allclose(alignment_TS, of_table[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("penalties", [{}, {"alpha": 1.0}, {"alpha": 1.5, "coverage": 0.3}])
def test_a_beam_as_wide_as_the_space_finds_the_best_of_all(penalties):
    beam = len(reference.WORDS) ** 2 + 1
    hypotheses, source_BS, tables = run(beam=beam, best=4, limits=(3, 3, 3), **penalties)
    for row, (source_S, table) in enumerate(zip(source_BS, tables, strict=True)):
        everything = sorted(
            reference.every_hypothesis(3),
            key=lambda tokens: -reference.score(table, tokens, source_S, **penalties),
        )
        assert [tokens for tokens, *_ in found(hypotheses, row)] == everything[:4]


@pytest.mark.parametrize("model", [GENERAL, TRANSFORMER])
@pytest.mark.parametrize("penalties", [{}, {"alpha": 1.0}, {"alpha": 0.6, "coverage": 0.3}])
def test_one_beam_is_greedy(model, penalties):
    hypotheses, source_BS, _ = run(model, beam=1, limits=(6, 5, 4), **penalties)
    graphdef, params = small_model(**dict(model))
    predictor = Predictor([nnx.merge(graphdef, params)])
    expected = greedy(predictor, jnp.asarray(source_BS), jnp.array([6, 5, 4]), positions=POSITIONS)
    np.testing.assert_array_equal(hypotheses.token_BNT, expected.token_BNT)
    np.testing.assert_allclose(hypotheses.log_p_BN, expected.log_p_BN, rtol=1e-5)
    np.testing.assert_allclose(hypotheses.alignment_BNTS, expected.alignment_BNTS, atol=1e-6)


@pytest.mark.parametrize("model", [GENERAL, TRANSFORMER, COVERED])
def test_batch_padding_and_order_change_no_hypothesis(model):
    options = {"beam": 3, "best": 3, "alpha": 1.0}
    hypotheses, source_BS, _ = run(model, **options)
    moved_BS = np.zeros((4, source_BS.shape[1] + 2), np.int32)
    moved_BS[:3, : source_BS.shape[1]] = source_BS[::-1]
    again = search(model, 3, 3, 0)(moved_BS, np.array([3, 4, 4, 0], np.int32), ranking(alpha=1.0))
    for row in range(3):
        for one, other in zip(found(hypotheses, row), found(again, 2 - row), strict=True):
            assert one[0] == other[0]
            assert one[1:3] == pytest.approx(other[1:3], rel=1e-5)
            width = one[3].shape[1]
            np.testing.assert_allclose(one[3], other[3][:, :width], rtol=1e-5, atol=1e-6)
            assert not other[3][:, width:].any()
    # A row that is all padding has no hypothesis.
    assert not np.asarray(again.token_BNT[3]).any()
    assert np.isneginf(again.score_BN[3]).all()


class Script(Predictor):
    """EOS with a given probability at each step, else the word 4; counts how often it is asked."""

    def __init__(self, ends):
        self.never_V = jnp.array([-jnp.inf, -jnp.inf, 0.0, 0.0, 0.0])  # PAD and BOS
        self.end_T = jnp.array(ends)
        self.steps = []

    def start(self, source_BS, temperature, positions):
        return (jnp.int32(0),), ()

    def __call__(self, states, token_B, sources):
        jax.debug.callback(self.steps.append, 1)
        end = self.end_T[states[0]]
        p_V = jnp.array([0.0, 0.0, 1.0, 0.0, 0.0]) * end + jnp.array([0.0] * 4 + [1.0]) * (1 - end)
        logit_BV = jnp.broadcast_to(jnp.log(p_V), (len(token_B), 5))
        return Prediction((states[0] + 1,), logit_BV, jnp.zeros((len(token_B), 1)))


@pytest.mark.parametrize(
    ("alpha", "ends", "words", "steps"),
    [
        # log 0.7 for the end at once; what goes on has at most log 0.3 / 9 as mean, and gets it.
        (1.0, (0.7, 0, 0, 0, 0, 0, 0, 0, 1), 8, 9),
        # The same without a penalty: nothing below log 0.7 can pass it.
        (0.0, (0.7, 0, 0, 0, 0, 0, 0, 0, 1), 0, 1),
        # Here length is punished: log 0.8 twice passes log 0.2, as nine times it would not.
        (-1.0, (0.2, 1, 0, 0, 0, 0, 0, 0, 0), 1, 2),
        (-1.0, (0.4, 0, 0, 0, 0, 0, 0, 0, 1), 0, 1),
    ],
)
def test_the_search_stops_as_soon_as_nothing_can_win_and_no_sooner(alpha, ends, words, steps):
    script, source_BS = Script(ends), jnp.array([[4]])
    found = beam_search(
        script, source_BS, jnp.array([9]), ranking(alpha), positions=9, beam=2, best=1
    )
    assert [int(v) for v in found.token_BNT[0, 0] if v] == [4] * words + [EOS]
    jax.effects_barrier()
    assert len(script.steps) == steps
