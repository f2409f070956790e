import logging
import math
import random
from collections import Counter

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from seq2seq_jax.evaluation import metrics
from seq2seq_jax.types import InputError

HYPOTHESES = ["the cat sat on the mat .", "a dog", "she is not a tall student .", ""]
SINGLE = ["the cat sat on a mat .", "a dog", "she is a very tall student .", "i am here ."]
REFERENCES = [(text,) for text in SINGLE]
SEVERAL = [
    ("the cat sat on a mat .", "a cat sat on the mat ."),
    ("a dog",),
    ("a very tall student .", "she is a very tall student .", "she is not tall ."),
    ("i am here .", "here !"),
]
ALL = tuple(metrics.TEXT_COUNTS)


def papineni(hypotheses: list[str], references: list[tuple[str, ...]]) -> float:
    """Equations of Papineni et al. 2002, sections 2.1-2.3, over words; no smoothing."""
    matched, proposed = [0] * 4, [0] * 4
    hypothesis_length = reference_length = 0
    for hypothesis, own in zip(hypotheses, references, strict=True):
        h, rs = hypothesis.split(), [text.split() for text in own]
        hypothesis_length += len(h)
        reference_length += min((abs(len(r) - len(h)), len(r)) for r in rs)[1]
        for n in range(1, 5):
            grams = Counter(tuple(h[i : i + n]) for i in range(len(h) - n + 1))
            allowed = Counter()
            for r in rs:
                allowed |= Counter(tuple(r[i : i + n]) for i in range(len(r) - n + 1))
            matched[n - 1] += sum(min(count, allowed[gram]) for gram, count in grams.items())
            proposed[n - 1] += sum(grams.values())
    brevity = min(1.0, math.exp(1 - reference_length / hypothesis_length))
    logs = [math.log(m / p) for m, p in zip(matched, proposed, strict=True)]
    return 100 * brevity * math.exp(sum(logs) / 4)


def levenshtein(a: list[str], b: list[str]) -> int:
    """Wagner & Fischer 1974: the whole table."""
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0] = range(len(a) + 1), range(len(b) + 1)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(
                table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (x != y)
            )
    return int(table[-1, -1])


def random_texts(count, seed=0):
    """Texts of one to six of four phonemes."""
    draw = random.Random(seed)
    return [
        " ".join(draw.choices(["AA", "B", "K", "T"], k=draw.randint(1, 6))) for _ in range(count)
    ]


@pytest.mark.parametrize("references", [REFERENCES, SEVERAL], ids=["one", "several"])
def test_bleu_is_the_papers_formula(references):
    assert metrics.corpus_scores(HYPOTHESES, references)["bleu"] == pytest.approx(
        papineni(HYPOTHESES, references), rel=1e-12
    )


@pytest.mark.parametrize(("name", "metric"), [("bleu", BLEU), ("chrf", CHRF), ("ter", TER)])
def test_scores_of_one_reference_are_what_sacrebleu_prints(name, metric):
    found = metrics.corpus_scores(HYPOTHESES, REFERENCES, ALL)[name]
    assert found == metric().corpus_score(HYPOTHESES, [SINGLE]).score


def test_exact_match_is_a_fraction_and_strict():
    found = metrics.corpus_scores(HYPOTHESES, REFERENCES)
    assert (found["exact_match"], found["sequence_error_rate"]) == (0.25, 0.75)
    wrong = metrics.corpus_scores(["A dog", "a  dog"], [("a dog",), ("a dog",)])
    assert wrong["exact_match"] == 0.0


def test_a_hypothesis_is_right_if_it_is_any_reference():
    own = ("AE B IY", "AE B EY")
    assert metrics.corpus_scores(["AE B EY", "AE B"], [own, own])["exact_match"] == 0.5


def test_perfect_and_hopeless():
    perfect = {"exact_match": 1.0, "sequence_error_rate": 0.0, "token_error_rate": 0.0}
    perfect |= {"bleu": 100.0, "chrf": 100.0, "ter": 0.0}
    assert metrics.corpus_scores(SINGLE, REFERENCES, ALL) == pytest.approx(perfect)
    # Also where each hypothesis is another one of several.
    last = [own[-1] for own in SEVERAL]
    assert metrics.corpus_scores(last, SEVERAL, ALL) == pytest.approx(perfect)
    hopeless = {"exact_match": 0.0, "sequence_error_rate": 1.0, "token_error_rate": 1.0}
    hopeless |= {"bleu": 0.0, "chrf": 0.0, "ter": 100.0}
    assert metrics.corpus_scores(["xyz"], [("abc",)], ALL) == hopeless


def test_chrf_of_one_character_by_hand():
    # chrF averages precision and recall over the character n-gram orders both sides have: 1..2.
    # "ab" against "ac": order 1 has 1 of 2 right both ways, order 2 has 0 of 1: P = R = F = 1/4.
    assert metrics.corpus_scores(["ab"], [("ac",)])["chrf"] == pytest.approx(25.0)
    assert metrics.corpus_scores(["ab"], [("xy", "ac")])["chrf"] == pytest.approx(25.0)


def test_ter_by_hand():
    # Moving "b a" costs one edit; with a second reference one substitution over (4 + 2) / 2 words.
    assert metrics.corpus_scores(["c d a b"], [("a b c d",)], ["ter"]) == {"ter": 25.0}
    found = metrics.corpus_scores(["a x"], [("a b c d", "a b")], ["ter"])
    assert found["ter"] == pytest.approx(100 / 3)


def test_token_error_rate_is_a_sum_over_the_set():
    """Edits to the closest reference over its length: (1 + 0 + 2) / (3 + 1 + 4)."""
    hypotheses = ["a x c", "b", "a b"]
    references = [("a b c", "x y z"), ("a", "b"), ("a b c d", "x y z")]
    found = metrics.corpus_scores(hypotheses, references, ["edits"])
    assert found == {"token_error_rate": 3 / 8}


def test_of_equally_close_references_the_longest_counts():
    assert metrics.closest("a b", ("a", "a b c", "x b")) == (1, 3)
    assert metrics.closest("", ("a b", "a")) == (1, 1)


def test_edits_are_those_of_the_whole_table():
    for hypothesis, *references in np.reshape(random_texts(200), (50, 4)).tolist():
        edits, length = metrics.closest(hypothesis, tuple(references))
        each = [(levenshtein(hypothesis.split(), r.split()), len(r.split())) for r in references]
        assert edits == min(distance for distance, _ in each)
        assert length == max(n for distance, n in each if distance == edits)


def test_statistics_add_up():
    statistics = metrics.sentence_statistics(HYPOTHESES, SEVERAL, ALL)
    assert statistics["matches"].tolist() == [[0, 1], [1, 1], [0, 1], [0, 1]]
    assert statistics["edits"].tolist() == [[1, 7], [0, 2], [2, 7], [2, 2]]
    for rows in ([0, 1, 2, 3], [0, 0, 2], [1, 3]):  # also resamples, also without a 4-gram
        part = {name: counts[rows] for name, counts in statistics.items()}
        expected = metrics.corpus_scores(
            [HYPOTHESES[i] for i in rows], [SEVERAL[i] for i in rows], ALL
        )
        assert metrics.scores(metrics.total(part)) == pytest.approx(expected, rel=1e-12)


def test_order_and_repetition_change_nothing():
    scores = metrics.corpus_scores(HYPOTHESES, SEVERAL, ALL)
    turned = metrics.corpus_scores(HYPOTHESES[::-1], SEVERAL[::-1], ALL)
    assert turned == pytest.approx(scores, rel=1e-12)
    counts = [name for name in ALL if name != "chrf"]  # which takes the first of equals
    turned = metrics.corpus_scores(HYPOTHESES, [own[::-1] for own in SEVERAL], counts)
    assert turned.items() <= scores.items()
    repeated = [own + own[:1] for own in SEVERAL]
    assert metrics.corpus_scores(HYPOTHESES, repeated, ALL) == scores
    assert metrics.signatures(repeated) == metrics.signatures(SEVERAL)


def test_another_reference_never_makes_a_rate_worse():
    one, more = random_texts(60, seed=1), random_texts(60, seed=2)
    hypotheses = random_texts(60, seed=3)
    alone = metrics.sentence_statistics(hypotheses, [(r,) for r in one], ["matches", "edits"])
    both = metrics.sentence_statistics(
        hypotheses, list(zip(one, more, strict=True)), ["matches", "edits"]
    )
    assert (both["matches"][:, 0] >= alone["matches"][:, 0]).all()
    assert (both["edits"][:, 0] <= alone["edits"][:, 0]).all()


def test_signatures_say_how():
    signatures = metrics.signatures(REFERENCES)
    assert "tok:13a|smooth:exp" in signatures["bleu_signature"]
    assert "nc:6" in signatures["chrf_signature"]
    assert "tok:tercom" in signatures["ter_signature"]
    assert all("nrefs:1|" in text for text in signatures.values())
    assert all("nrefs:var|" in text for text in metrics.signatures(SEVERAL).values())
    assert all("nrefs:2|" in text for text in metrics.signatures([("a", "b")]).values())


def test_many_tokenised_periods_do_not_warn(caplog):
    with caplog.at_level(logging.WARNING):
        metrics.corpus_scores(["a dog ."] * 150, [("a dog .",)] * 150, ALL)
    assert not caplog.records


def test_bad_input():
    with pytest.raises(InputError, match="empty"):
        metrics.corpus_scores([], [])
    with pytest.raises(InputError, match="2 hypotheses for the references of 1 sentences"):
        metrics.corpus_scores(["a", "b"], [("a",)])
    with pytest.raises(InputError, match=r"sentence 1 .* has no reference"):
        metrics.corpus_scores(["a", "b"], [("a",), ()])
