import pytest

from seq2seq_jax.evaluation import metrics
from seq2seq_jax.reports import formats
from seq2seq_jax.reports.columns import COLUMNS, with_beam
from seq2seq_jax.reports.diff import compare_sweeps
from seq2seq_jax.reports.grids import printed
from seq2seq_jax.reports.paper import Paper
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.reports.significance import compare_with_baseline
from seq2seq_jax.reports.tables import make_table
from tests.reports import fake_sweep

RIGHT = fake_sweep.references()
WRONG = [f"{text} wrong" for text in RIGHT]
GREEDY = {"test/exact_match": 0.5, "test/bleu": 40.0, "test/chrf": 50.0, "test/ter": 30.0}
BEAM = {"test/exact_match_beam": 0.625, "test/bleu_beam": 45.0, "test/ter_beam": 25.0}


def searched(folder, **finals):
    """A sweep of cells with these test metrics; the later a cell, the more it gets right."""
    fake_sweep.write_sweep(folder, {name: {} for name in finals}, seeds=(0,))
    for n, (name, final) in enumerate(finals.items()):
        texts = RIGHT[: 2 * n + 1] + WRONG[2 * n + 1 :]
        beam = texts if final != GREEDY else None
        run = folder / name / "seed0"
        fake_sweep.write_run(run, final=final, hypotheses=texts, beam=beam, done=fake_sweep.done())
    return folder


def test_every_score_of_texts_has_a_column_for_both_searches():
    scores = metrics.corpus_scores(["a b"], [("a b",)], tuple(metrics.TEXT_COUNTS))
    for name in scores:
        greedy, beam = COLUMNS[name], COLUMNS[f"{name}_beam"]
        assert beam[2:] == greedy[2:]
        assert beam.title == f"{greedy.title} (beam)"
    assert sum(name.endswith("_beam") for name in COLUMNS) == len(scores)


def test_beam_search_stands_behind_greedy_search():
    assert with_beam(["ter", "perplexity", "bleu_beam", "bleu", "ter"]) == [
        *("ter", "ter_beam", "perplexity", "bleu_beam", "bleu")
    ]


def test_columns_of_beam_search_where_a_run_has_one(tmp_path):
    folder = searched(tmp_path, a=GREEDY | BEAM, b=GREEDY, c=GREEDY | BEAM)
    results = read_results(folder)
    table = make_table(results, compare_with_baseline(results))
    names = ["exact_match", "exact_match_beam", "bleu", "bleu_beam"]
    assert [column.metric for column in table.columns] == [*names, "parameters", "seconds"]
    a, b, _ = (row.values for row in table.rows)
    assert a["exact_match_beam"].mean == 62.5 and "bleu_beam" not in b
    beams = [item for item in table.differences if item.metric == "bleu_beam"]
    assert [(item.cell, item.low is None) for item in beams] == [("c", False)]
    text = formats.markdown(printed(table))
    assert "| exact match (%) ↑ | exact match (%) (beam) ↑ | BLEU ↑ | BLEU (beam) ↑ |" in text
    assert f"BLEU signature: {fake_sweep.SIGNATURE.replace('|', chr(92) + '|')}" in text


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (("ter",), ["ter", "ter_beam"]),
        (("bleu_beam", "chrf"), ["bleu_beam", "chrf"]),  # no run has chrf_beam
        (("perplexity",), []),
    ],
)
def test_a_paper_table_gains_the_beam_of_its_columns(tmp_path, columns, shown):
    results = read_results(searched(tmp_path, a=GREEDY | BEAM, b=GREEDY))
    table = make_table(results, [], Paper(rows={"A": "a"}, columns=columns))
    assert [column.metric for column in table.columns] == [*shown, "parameters", "seconds"]
    signed = any("BLEU signature" in note for note in table.notes)
    assert signed == ("bleu_beam" in shown)


def test_two_sweeps_are_compared_in_both_searches(tmp_path):
    ours, theirs = (
        read_results(searched(tmp_path / name, a=GREEDY | BEAM)) for name in ("ours", "theirs")
    )
    lines = compare_sweeps(ours, theirs, with_beam(["bleu", "exact_match"])).lines
    tested = {line.difference.metric: line.difference.p for line in lines}
    assert tested["bleu"] == tested["bleu_beam"] == tested["exact_match_beam"] == 1.0
