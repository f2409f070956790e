import csv
import html
import io
import json
import math
import statistics

import pytest

from seq2seq_jax.reports import formats
from seq2seq_jax.reports.paper import Paper
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.reports.significance import Comparison, compare_with_baseline
from seq2seq_jax.reports.tables import make_table
from seq2seq_jax.types import InputError
from tests.reports import fake_sweep
from tests.reports.small_tables import (
    console,
    latex,
    markdown,
    one_metric,
    published_file,
    table_of,
)


def test_means_and_deviations_of_the_quickstart(tmp_path):
    table = table_of(fake_sweep.quickstart(tmp_path))
    assert [row.cell for row in table.rows] == ["score=none", "score=general"]
    assert [column.metric for column in table.columns] == [
        *("exact_match", "bleu", "perplexity", "perplexity_free", "aer", "parameters", "seconds")
    ]
    none, general = (row.values for row in table.rows)
    assert none["exact_match"].mean == pytest.approx(55.0)
    assert none["exact_match"].sd == pytest.approx(statistics.stdev([50, 60]))
    assert general["bleu"].mean == pytest.approx((77 + 87) / 2)
    assert general["perplexity_free"].mean == pytest.approx((3.2 + 3.1) / 2)
    assert general["aer"].mean == pytest.approx((42 + 36) / 2)
    assert general["parameters"].mean == 20000
    assert not general["parameters"].best and not none["parameters"].best
    assert none["seconds"].mean == 65
    assert all(value.n == 2 for row in table.rows for value in row.values.values())
    assert [row.seeds for row in table.rows] == [2, 2]


def test_three_seeds_by_the_sample_formula(tmp_path):
    value = table_of(one_metric(tmp_path, "bleu", a=[10.0, 14.0, 18.0])).rows[0].values["bleu"]
    assert (value.mean, value.n) == (14.0, 3)
    assert value.sd == pytest.approx(4.0)  # sqrt((16 + 0 + 16) / 2); over 3 it would be 3.27
    line = markdown(table_of(tmp_path)).splitlines()[2]
    assert line.startswith("| a | 14.00 ± 4.00 |")


def test_one_seed_has_no_deviation(tmp_path):
    table = table_of(one_metric(tmp_path, "bleu", a=[10.0]))
    assert table.rows[0].values["bleu"].sd is None
    for render in (markdown, latex, console):
        assert "±" not in render(table)
        assert "pm$" not in render(table)


def test_equal_seeds_have_a_deviation_of_zero(tmp_path):
    line = markdown(table_of(one_metric(tmp_path, "bleu", a=[10.0, 10.0]))).splitlines()[2]
    assert line.startswith("| a | 10.00 ± 0.00 | 12,345 |")


def test_best_values_follow_the_direction(tmp_path):
    rows = table_of(one_metric(tmp_path / "x", "bleu", a=[10.0], b=[12.0], c=[11.0])).rows
    assert [row.values["bleu"].best for row in rows] == [False, True, False]
    rows = table_of(one_metric(tmp_path / "y", "perplexity", a=[3.0], b=[2.0], c=[4.0])).rows
    assert [row.values["perplexity"].best for row in rows] == [False, True, False]
    assert not any(row.values["seconds"].best for row in rows)


def test_what_prints_the_same_is_equally_good(tmp_path):
    rows = table_of(one_metric(tmp_path / "x", "bleu", a=[12.001], b=[12.002], c=[11.0])).rows
    assert [row.values["bleu"].best for row in rows] == [True, True, False]
    rows = table_of(one_metric(tmp_path / "y", "bleu", a=[12.001], b=[12.002])).rows
    assert [row.values["bleu"].best for row in rows] == [False, False]


def test_a_diverged_seed_is_shown_and_never_best(tmp_path):
    nan = float("nan")
    table = table_of(one_metric(tmp_path, "perplexity", a=[2.0, nan], b=[3.0, 3.0], c=[4.0, 5.0]))
    values = [row.values["perplexity"] for row in table.rows]
    assert math.isnan(values[0].mean)
    assert [value.best for value in values] == [False, True, False]
    assert "| a (baseline) | nan ± nan |" in markdown(table)
    infinite = table_of(one_metric(tmp_path / "i", "perplexity", a=[2.0, math.inf], b=[3.0, 3.0]))
    assert "inf ± nan" in console(infinite)


def half_done(folder):
    fake_sweep.write_sweep(folder, {"a": {}, "b": {}, "c": {}}, seeds=(0, 1))
    final = {"test/bleu": 30.0}
    fake_sweep.write_run(folder / "a" / "seed0", final=final, done=fake_sweep.done())
    fake_sweep.write_run(folder / "a" / "seed1", final={"test/bleu": 99.0})  # not yet DONE
    fake_sweep.write_run(folder / "b" / "seed0", curve=fake_sweep.curve(0.5)[:4])
    fake_sweep.write_run(folder / "b" / "seed1", failed="Traceback\nloss is NaN at step 12\n")
    return folder


def test_half_done_sweep(tmp_path):
    table = table_of(half_done(tmp_path))
    assert [(row.seeds, row.expected) for row in table.rows] == [(1, 2), (0, 2), (0, 2)]
    assert table.rows[0].values["bleu"].mean == 30.0
    states = ["1 stopped", "1 stopped, 1 failed", "2 missing"]
    assert [row.status for row in table.rows] == states
    assert table.missing == [
        "Not finished: a, seed 1: step 400 so far",
        "Not finished: b, seed 0: step 200 so far",
        "Failed: b, seed 1: loss is NaN at step 12",
        "Not started: c, seed 0",
        "Not started: c, seed 1",
    ]
    for render in (markdown, latex, console):
        assert "loss is NaN at step 12" in render(table)
        assert "1 of 2" in render(table)
    assert "| b | - | - | - | 0 of 2 | 1 stopped, 1 failed |" in markdown(table)


def test_nothing_finished_yet(tmp_path):
    table = table_of(fake_sweep.write_sweep(tmp_path, {"a": {}}, seeds=(0,)))
    assert table.columns == []
    assert "| a | 0 of 1 | 1 missing |" in markdown(table)
    assert "Not started: a, seed 0" in console(table)


def test_a_metric_that_one_seed_lacks_says_so(tmp_path):
    fake_sweep.write_sweep(tmp_path, {"a": {}})
    for seed, final in enumerate(({"test/bleu": 3.0}, {"test/aer": 0.5})):
        run = tmp_path / "a" / f"seed{seed}"
        fake_sweep.write_run(run, final=final, done=fake_sweep.done())
    assert "| a | 3.00 (n = 1) | 50.0 (n = 1) |" in markdown(table_of(tmp_path))


def test_notes_say_how_it_was_made(tmp_path):
    results = read_results(fake_sweep.quickstart(tmp_path))
    text = console(make_table(results, compare_with_baseline(results)))
    assert f"BLEU signature: {fake_sweep.SIGNATURE}" in text
    assert f"Command: {fake_sweep.COMMAND}" in text
    assert "Seeds: 0, 1 (4 of 4 runs finished)" in text
    assert "Device: AMD EPYC, 2 cores" in text
    assert "Versions: jax 0.10.2, flax 0.12.8" in text
    assert "Koehn 2004" in text
    assert "chrF signature" not in text
    assert "Together" not in text


def test_notes_tell_of_runs_that_shared_a_program(tmp_path):
    folder = fake_sweep.quickstart(tmp_path)
    for seed in (0, 1):
        (folder / "score=none" / f"seed{seed}" / "population.json").write_text("{}")
    results = read_results(folder)
    text = console(make_table(results, compare_with_baseline(results)))
    assert "Together: 2 of 4 runs shared programs; the seconds are a program's" in text


@pytest.mark.parametrize(
    ("facts", "other"),
    [
        ({"platform": "gpu", "device": "H100", "devices": 2, "cores": 8}, "2 x H100"),
        ({"platform": "cpu", "device": "Neoverse", "devices": 1, "cores": 1}, "Neoverse, 1 core"),
    ],
)
def test_two_devices_are_both_named(facts, other, tmp_path):
    fake_sweep.quickstart(tmp_path)
    path = tmp_path / "score=none" / "seed1" / "environment.json"
    path.write_text(json.dumps(facts))
    assert f"Device: AMD EPYC, 2 cores | {other}\n" in console(table_of(tmp_path))


def test_significance_is_marked_and_listed(tmp_path):
    folder = one_metric(tmp_path, "exact_match", a=[0.5], b=[0.6], c=[0.51])
    comparisons = [
        Comparison("b", "exact_match", 0.1, 0.05, 0.15, 0.002),
        Comparison("c", "exact_match", 0.01, -0.02, 0.04, 0.5),
    ]
    text = markdown(table_of(folder, comparisons))
    assert "| b | **60.0 †** |" in text
    assert "| c | 51.0 |" in text
    assert "exact match (%), difference from a" in text
    assert "| b | +10.0 | +5.0 to +15.0 | 0.002 |" in text  # in percentage points, as the table
    assert "| c | +1.0 | -2.0 to +4.0 | 0.500 |" in text
    rows = list(csv.DictReader(io.StringIO(formats.comma_separated(table_of(folder, comparisons)))))
    assert [row["exact match (%) p"] for row in rows] == ["", "0.002", "0.5"]


def test_a_p_below_the_last_digit_is_not_printed_as_zero(tmp_path):
    folder = one_metric(tmp_path, "bleu", a=[1.0, 1.0001], b=[5.0, 5.0001])
    assert "| b | +4.00 | <0.001 |" in html.unescape(markdown(table_of(folder)))


def test_csv_reads_back_unrounded(tmp_path):
    folder = one_metric(tmp_path, "exact_match", **{'odd, "name"': [1 / 3, 2 / 3]})
    (row,) = csv.DictReader(io.StringIO(formats.comma_separated(table_of(folder))))
    assert row["cell"] == 'odd, "name"'
    assert float(row["exact match (%)"]) == pytest.approx(50.0, abs=1e-12)
    assert float(row["exact match (%) sd"]) == pytest.approx(100 / 3 / math.sqrt(2), rel=1e-12)
    assert (row["exact match (%) n"], row["seeds"], row["seeds expected"]) == ("2", "2", "2")


def test_csv_has_what_the_table_has_no_room_for(tmp_path):
    table = table_of(fake_sweep.quickstart(tmp_path))
    assert "entropy" not in console(table)
    none, general = csv.DictReader(io.StringIO(formats.comma_separated(table)))
    assert float(general["alignment entropy (nats)"]) == pytest.approx(2 - 0.85)
    assert float(general["alignment coverage (%)"]) == pytest.approx(30 + 60 * 0.85)
    assert float(general["monotonicity (%)"]) == pytest.approx(50 + 40 * 0.85)
    assert float(general["gold distance (words)"]) == pytest.approx(3 - 2 * 0.85)
    assert (general["padding weight"], none["padding weight"]) == ("0.0", "")
    assert not any("head" in name for name in general)


def test_columns_of_a_paper_can_be_diagnostics(tmp_path):
    results = read_results(fake_sweep.quickstart(tmp_path))
    paper = Paper(columns=("alignment_entropy", "gold_distance"))
    lines = markdown(make_table(results, [], paper)).splitlines()
    assert lines[0].startswith("| cell | alignment entropy (nats) | gold distance (words) ↓ |")
    assert lines[3].startswith("| score=general | 1.150 ± 0.071 | 1.30 ± 0.14 |")


@pytest.mark.parametrize(
    ("line", "weight"),
    [
        ({"test/padding_weight": 0.25, "test/padding_weight/head1": 0.5}, "0.5"),
        ({"valid/padding_weight": 1e-9}, "1e-09"),
        ({"test/padding_weight": math.nan, "test/padding_weight/head1": 0.5}, "nan"),
    ],
)
def test_attention_on_padding_is_never_silent(tmp_path, line, weight):
    folder = fake_sweep.quickstart(tmp_path)
    assert "on padding" not in console(table_of(folder))
    with (folder / "score=general" / "seed1" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 500, **line}) + "\n")
    table = table_of(folder)
    note = f"Attention on padding, which must be exactly 0: score=general, seed 1: up to {weight} "
    for render in (console, markdown, latex):
        assert note in render(table)


def test_a_published_metric_gets_its_column(tmp_path):
    """The error rates of grapheme-to-phoneme are no default columns."""
    final = {"test/bleu": 80.0, "test/token_error_rate": 0.0612, "test/sequence_error_rate": 0.25}
    fake_sweep.write_sweep(tmp_path / "s", {"a": {}}, seeds=(0,))
    fake_sweep.write_run(tmp_path / "s" / "a" / "seed0", final=final, done=fake_sweep.done())
    assert table_of(tmp_path / "s").columns[0].metric == "bleu"
    path = published_file(tmp_path, "Yao & Zweig 2015,token_error_rate,5.45,the paper,S")
    lines = markdown(table_of(tmp_path / "s", published=path)).splitlines()
    assert lines[0].startswith(
        "| cell | BLEU ↑ | token error rate (%) ↓ | token error rate (%), published | parameters |"
    )
    assert lines[2].startswith("| a (baseline) | 80.00 | 6.12 | - |")


def test_differences_are_shown_for_the_columns_alone(tmp_path):
    folder = one_metric(tmp_path, "bleu", a=[1.0], b=[2.0])
    both = [Comparison("b", metric, 1.5, 1.0, 2.0, 0.01) for metric in ("bleu", "chrf")]
    assert [item.metric for item in table_of(folder, both).differences] == ["bleu"]


def test_published_numbers_stand_beside_ours(tmp_path):
    folder = one_metric(tmp_path / "s", "bleu", a=[27.5], b=[28.0])
    path = published_file(tmp_path, "b,bleu,28.30,a tutorial,P", "Luong 2015,bleu,20.9,the paper,S")
    table = table_of(folder, published=path)
    lines = markdown(table).splitlines()
    assert lines[0].startswith("| cell | BLEU ↑ | BLEU, published | BLEU, verdict | parameters |")
    assert lines[2].startswith("| a (baseline) | 27.50 | - | - |")
    assert lines[3].startswith("| b | **28.00** | 28.30 | below (no spread) |")
    assert lines[4].startswith("| Luong 2015 | - | 20.9 | - |")
    assert "- Published: b, BLEU 28.30: a tutorial (P)" in lines
    rows = list(csv.DictReader(io.StringIO(formats.comma_separated(table))))
    assert [row["BLEU published"] for row in rows] == ["", "28.30", "20.9"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,bleuu,1,x,P", r"published\.csv:2: unknown metric 'bleuu'"),
        ("a,bleu,1", r"published\.csv:2: expected 5 fields, found 3"),
    ],
)
def test_bad_published_lines_are_named(tmp_path, line, message):
    folder = one_metric(tmp_path / "s", "bleu", a=[27.5])
    with pytest.raises(InputError, match=message):
        table_of(folder, published=published_file(tmp_path, line))


def test_bad_published_files_are_named(tmp_path):
    folder = one_metric(tmp_path / "s", "bleu", a=[27.5])
    with pytest.raises(InputError, match="no such file"):
        table_of(folder, published=tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"other\.csv:1: expected the header row,metric,value"):
        table_of(folder, published=tmp_path / "other.csv")
