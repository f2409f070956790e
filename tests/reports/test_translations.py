import math

import pytest

from seq2seq_jax.reports import translations
from seq2seq_jax.reports.results import read_results
from tests.reports import fake_sweep


@pytest.fixture
def results(tmp_path):
    return read_results(fake_sweep.quickstart(tmp_path))


def test_the_first_test_sentences_of_every_cell_in_order(results):
    tested = translations.tested_translations(results, most=4)
    sources = [source for source, _, _ in fake_sweep.SENTENCES]
    assert [source for source, _ in tested] == sources[:4]
    for made in tested.values():
        assert [(item.cell, item.seed) for item in made] == [
            ("score=none", 0),
            ("score=general", 0),
        ]


def test_any_reference_makes_a_translation_right(results):
    line = fake_sweep.line(0, ("a", "x", []), "y")
    made = [translations.Translation("cell", 0, line)]
    whole = translations.translations_html({}, {("a", ("x", "y")): made})
    assert "reference: x | y" in whole and "equals a reference" in whole
    assert "equals a reference" not in translations.translations_html({}, {("a", ("x",)): made})


def test_a_search_without_an_allowed_translation_has_no_log_probability():
    line = fake_sweep.line(0, ("a", "x", []), "") | {"score": None}
    made = [translations.Translation("cell", 0, line)]
    assert "log p -inf" in translations.translations_html({("a", ("x",)): made}, {})


def test_what_is_past_the_budget_is_left_out_and_counted(results, monkeypatch):
    tested = translations.tested_translations(results)
    whole = translations.translations_html({}, tested)
    assert "0 chosen sentences and the first 6 of the test set" in whole
    one = len(translations.translations_html({}, dict(list(tested.items())[:1])))
    monkeypatch.setattr(translations, "BUDGET", 5 * one)
    less = translations.translations_html({}, tested)
    kept = less.count('<div class="sentence"')
    assert 0 < kept < 6
    assert f"the first {kept} of the test set. A row" in less
    assert less.count("<option>") == kept
    first, *others = tested
    long = {("a " * 5 * one, first[1]): tested[first]} | {name: tested[name] for name in others[:1]}
    skipped = translations.translations_html({}, long)
    assert "the first 2 of the test set, but for 1 that are too long" in skipped
    assert skipped.count('<div class="sentence"') == 1
    monkeypatch.setattr(translations, "BUDGET", 0)
    nothing = '<p class="caption">All 6 test sentences are too long for this page.</p>\n'
    assert translations.translations_html({}, tested) == nothing
    assert translations.translations_html({}, {}) == ""


def test_weights_and_gold_links_of_an_alignment():
    line = fake_sweep.line(0, ("a b", "x y", [(1, 0)]), "x y")
    line["alignment"] = [[0.25, 0.754, 0.0], [1.0, 0.0, 0.004], [0.0, 0.0, 1.0]]
    html = translations.alignment_html(line)
    rows = html.split("<tbody>")[1].split("</tr>")
    assert '<td style="--w:25"></td><td style="--w:75" class="gold"></td><td></td>' in rows[0]
    assert '<td style="--w:100"></td><td></td><td></td>' in rows[1]  # next to nothing is nothing
    assert html.count('class="gold"') == 1
    # Gold links count the words of the reference: another translation has none.
    assert "gold" not in translations.alignment_html(line | {"hypothesis": "x z"})


def test_a_weight_that_is_no_number_is_not_drawn():
    line = {"source_tokens": ["a", "b"], "hypothesis_tokens": ["x"], "alignment": [[math.nan, 0.5]]}
    text = translations.alignment_html(line | {"gold": None, "hypothesis": "x", "reference": "x"})
    assert '<td></td><td style="--w:50"></td>' in text


@pytest.mark.parametrize("weights", [None, [], [[0.0, 0.0, 0.0]] * 3])
def test_without_attention_the_card_says_so(weights):
    line = fake_sweep.line(0, ("a b", "x y", []), "x y") | {"alignment": weights}
    assert "no attention" in translations.alignment_html(line)
