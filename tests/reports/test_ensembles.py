"""Ensembles that `evaluate --save` has left among the cells of a sweep."""

import csv
import io

import pytest

from seq2seq_jax.reports import formats, translations
from seq2seq_jax.reports.grids import printed
from seq2seq_jax.reports.page import page
from seq2seq_jax.reports.paper import Paper
from seq2seq_jax.reports.plots import scores_by_length, scores_by_ratio
from seq2seq_jax.reports.published import Published
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.reports.significance import compare_with_baseline
from seq2seq_jax.reports.tables import OURS_ALONE, make_table
from tests.reports import fake_sweep

MEMBERS = ["score=none/seed0", "score=general/seed0"]
PAPER = Paper(
    rows={"Plain": "score=none", "ensemble of 2": "ensemble"},
    columns=("exact_match",),
    published={"ensemble of 2": {"exact_match": Published("99.0", "the paper", "read there")}},
)


def table_of(folder, paper=OURS_ALONE):
    return make_table(read_results(folder), [], paper)


@pytest.fixture
def folder(tmp_path):
    fake_sweep.quickstart(tmp_path)
    fake_sweep.write_ensemble(
        tmp_path / "ensemble" / "seed0",
        MEMBERS,
        final={"test/exact_match": 1.0, "test/bleu": 100.0},
        hypotheses=fake_sweep.references(),
        done=fake_sweep.done(32345, 120.0),
    )
    return tmp_path


def test_an_ensemble_is_a_row_with_its_scores_cost_and_members(folder):
    table = table_of(folder)
    assert [row.cell for row in table.rows] == ["score=none", "score=general", "ensemble"]
    none, _, ensemble = table.rows
    values = {name: value.mean for name, value in ensemble.values.items()}
    assert values == {
        **{"exact_match": 100.0, "bleu": 100.0, "members": 2.0},
        **{"parameters": 32345.0, "seconds": 120.0},
    }
    assert ensemble.values["exact_match"].best and not ensemble.status
    assert "members" not in none.values
    names = ["members", "parameters", "seconds"]
    assert [column.metric for column in table.columns][-3:] == names
    text = formats.console(printed(table))
    assert (
        "Ensemble: ensemble, seed 0: the probabilities of score=none/seed0, score=general/seed0, "
        "averaged at each step; its parameters and seconds are the sums of theirs." in text
    )
    assert "(4 of 4 runs finished)" in text  # an ensemble is no run
    rows = list(csv.DictReader(io.StringIO(formats.comma_separated(table))))
    assert [row["members"] for row in rows] == ["", "", "2.0"]


def test_without_an_ensemble_nothing_is_said_of_one(tmp_path):
    text = formats.console(printed(table_of(fake_sweep.quickstart(tmp_path))))
    assert "nsemble" not in text and "members" not in text


def test_its_translations_are_compared_and_shown_like_those_of_other_cells(folder):
    results = read_results(folder)
    table = make_table(results, compare_with_baseline(results))
    tested = {(item.cell, item.metric): item for item in table.differences}
    bleu = tested["ensemble", "bleu"]
    assert bleu.difference > 0 and bleu.low is not None and bleu.p is not None
    sentences = translations.translations_html({}, translations.tested_translations(results))
    assert sentences.count("<b>ensemble</b> <span>seed 0, ") == len(fake_sweep.SENTENCES)
    assert "ensemble" in {text.get_text() for text in scores_by_length(results).legends[0].texts}
    assert "3 cells, 4 of 4 runs finished" in page(results, table, [], [], sentences)


def test_the_published_ensemble_beside_ours_or_the_word_that_it_is_missing(folder):
    row = table_of(folder, PAPER).rows[1]
    assert (row.name, row.cell, row.status) == ("ensemble of 2", "ensemble", "")
    assert row.values["exact_match"].mean == 100.0
    assert row.verdicts == {"exact_match": "above (no spread)"}
    (folder / "ensemble").rename(folder / "other")
    table = table_of(folder, PAPER)
    assert (table.rows[1].status, table.rows[1].values) == ("not in this sweep", {})
    assert "Not in this sweep: ensemble of 2: no cell ensemble" in table.missing


def test_one_that_is_not_finished_is_said_to_be_missing(folder):
    (folder / "ensemble" / "seed0" / "DONE").unlink()
    table = table_of(folder)
    assert (table.rows[-1].seeds, table.rows[-1].status) == (0, "1 stopped")
    assert "Not finished: ensemble, seed 0: step 400 so far" in table.missing
    assert ("Seeds", "0, 1 (4 of 4 runs finished)") in table.made_by


def test_averaged_checkpoints_are_named_and_seeds_make_a_mean(folder):
    second = fake_sweep.write_ensemble(
        folder / "ensemble" / "seed1",
        ["score=none/seed1", "score=general/seed1"],
        final={"test/exact_match": 0.9},
        done=fake_sweep.done(32345, 120.0),
    )
    text = (second / "ensemble.json").read_text()
    (second / "ensemble.json").write_text(text.replace("[1, 1]", "[5, 5]"))
    table = table_of(folder)
    assert table.rows[-1].values["exact_match"].sd == pytest.approx(50**0.5)
    (note,) = [note for note in table.notes if "ensemble, seed 1" in note]
    assert "score=general/seed1, each the mean of 5 checkpoints, averaged at each step" in note


def test_it_has_no_place_on_an_axis_of_settings(tmp_path):
    ratio = "teacher_forcing.ratio"
    fake_sweep.write_sweep(tmp_path, {f"r={r}": {ratio: r} for r in (0.5, 1.0)}, seeds=(0,))
    final = {"test/exact_match": 0.5}
    for r in (0.5, 1.0):
        run = tmp_path / f"r={r}" / "seed0"
        fake_sweep.write_run(run, final=final, done=fake_sweep.done())
    ensemble = tmp_path / "ensemble" / "seed0"
    fake_sweep.write_ensemble(ensemble, ["r=0.5/seed0"], final=final, done=fake_sweep.done())
    (panel,) = scores_by_ratio(read_results(tmp_path)).axes
    assert {line.get_label() for line in panel.lines} & {"ensemble"} == set()
    (bars,) = panel.containers
    assert sorted(bars.lines[0].get_xdata()) == [0.5, 1.0]
