import csv
import io

import pytest

from seq2seq_jax.reports import formats
from seq2seq_jax.reports.grids import grid, printed
from seq2seq_jax.reports.paper import read_paper
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.reports.tables import make_table
from seq2seq_jax.types import InputError
from tests.reports import fake_sweep

TABLE = """
ROWS = {"Attentive": "score=general", "SMT": None, "Plain": "score=none", "Best": "score=dott"}
COLUMNS = ("bleu", "exact_match")
TITLE = "A paper, table 1"
NOTES = ("Run on other data.",)
"""
PUBLISHED = """row,metric,value,source,certainty,low,high
Attentive,bleu,80.0,"the paper, table 1",read there,77.0,83.0
Attentive,exact_match,99.9,a note,(mem),,
Plain,bleu,10,the paper,read there,,
SMT,bleu,20.9,the paper,read there,,
"""


def paper_folder(folder, table=TABLE, published=PUBLISHED):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.py").write_text(table)
    if published:
        (folder / "published.csv").write_text(published)
    return folder


def comma_separated(table):
    return list(csv.DictReader(io.StringIO(formats.comma_separated(table))))


def test_the_paper_beside_ours_in_its_order(tmp_path):
    folder = fake_sweep.quickstart(tmp_path / "sweep")
    sweep = {"score=none": {}, "score=general": {}, "score=dot": {}}
    fake_sweep.write_sweep(folder, sweep)
    paper = read_paper(paper_folder(tmp_path / "paper"))
    table = make_table(read_results(folder), [], paper)
    lines = formats.markdown(printed(table)).splitlines()
    assert lines[0] == "**A paper, table 1**"
    assert lines[2] == (
        "| row | cell | BLEU ↑ | BLEU, published | BLEU, verdict | exact match (%) ↑ | "
        "exact match (%), published | exact match (%), verdict | parameters | seconds | seeds | "
        "state |"
    )
    assert [line.split(" | ")[:2] for line in lines[4:9]] == [
        ["| Attentive", "score=general"],
        ["| SMT", "-"],
        ["| Plain", "score=none (baseline)"],
        ["| Best", "score=dott"],
        ["| -", "score=dot"],  # ours alone, after the paper's
    ]
    assert " | 80.0 (77.0 to 83.0) | within | " in lines[4]
    assert " | 99.9 (unverified) | unverified | 20,000 | " in lines[4]
    assert " | 10 | above (our spread) | " in lines[6]
    assert "- Run on other data." in lines
    note = "Not in this sweep: Best: no cell score=dott; did you mean score=dot?"
    assert note in table.missing
    rows = comma_separated(table)
    assert [row["BLEU verdict"] for row in rows] == ["within", "", "above (our spread)", "", ""]
    assert [row["state"] for row in rows] == ["", "published", "", "not in this sweep", "2 missing"]
    assert "so there is no verdict" in formats.console(printed(table))


@pytest.mark.parametrize(
    ("more", "firsts"),
    [
        ({}, "score=none (baseline), Best, score=general, score=dot"),
        (
            {"Dot": "score=dot"},
            "score=none | score=none (baseline), Best | -, Dot | score=dot, - | score=general",
        ),
    ],
    ids=["no other name", "another name, too"],
)
def test_a_row_that_the_paper_calls_as_we_do_bears_its_name(tmp_path, more, firsts):
    folder = fake_sweep.quickstart(tmp_path / "sweep")
    fake_sweep.write_sweep(folder, {"score=none": {}, "score=general": {}, "score=dot": {}})
    rows = {"score=none": "score=none", "Best": None} | more
    paper = paper_folder(tmp_path / "paper", f"ROWS = {rows}\nCOLUMNS = ('bleu',)", None)
    table = make_table(read_results(folder), [], read_paper(paper))
    lines, firsts = formats.markdown(printed(table)).splitlines()[2:6], firsts.split(", ")
    assert [line[2 : 2 + len(first)] for line, first in zip(lines, firsts, strict=True)] == firsts
    named = {row.get("row", row["cell"]) for row in comma_separated(table)}
    assert named >= {"score=none", "score=general"}


def test_what_cannot_be_compared_gets_no_verdict_but_its_order(tmp_path):
    folder = fake_sweep.quickstart(tmp_path / "sweep")
    paper = read_paper(paper_folder(tmp_path / "paper", TABLE + "COMPARABLE = False"))
    table = make_table(read_results(folder), [], paper)
    text = formats.markdown(printed(table))
    assert "verdict |" not in text and "- No verdicts: " in text
    assert "- BLEU: 1 of 1 pairs of rows stand in the published order." in text
    assert "exact match (%): " not in text


def test_published_numbers_and_title_may_be_missing(tmp_path):
    paper = read_paper(paper_folder(tmp_path, 'ROWS = {"a": "x"}\nCOLUMNS = ["bleu"]', None))
    assert (paper.rows, paper.columns, paper.published) == ({"a": "x"}, ("bleu",), {})
    assert (paper.title, paper.notes) == ("", ())


def test_other_metrics_stay_out_of_the_paper_table(tmp_path):
    folder = fake_sweep.quickstart(tmp_path / "sweep")
    paper = read_paper(paper_folder(tmp_path / "p", 'ROWS = {}\nCOLUMNS = ("aer",)', None))
    table = make_table(read_results(folder), [], paper)
    assert [column.metric for column in table.columns] == ["aer", "parameters", "seconds"]
    assert grid(table)[0][0] == "cell"  # no row is called otherwise than its cell


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"table\.py: expected ROWS = "),
        ("ROWS = {'a': 1}", r"table\.py: expected ROWS = "),
        ("ROWS = {}\nCOLUMNS = 'bleu'", r"table\.py: expected COLUMNS = "),
        ("ROWS = {}\nCOLUMNS = ()\nTITEL = ''", r"unknown name TITEL; did you mean TITLE\?"),
        ("ROWS = {}\nCOLUMNS = ('blue',)", r"unknown metric 'blue' in COLUMNS; did you mean bleu"),
        ("ROWS = {}\nCOLUMNS = ()\nTITLE = 1", r"expected TITLE = 'text'"),
        ("ROWS = {}\nCOLUMNS = ()\nCOMPARABLE = 0", r"expected COMPARABLE = True or False"),
        ("\n\nROWS = 1 / 0", r"table\.py, line 3: ZeroDivisionError"),
        (TABLE.replace("SMT", "MT"), r"published\.csv: no row 'SMT' in ROWS of .*did you mean MT"),
        (
            TABLE.replace('("bleu", ', '("aer", '),
            r"published\.csv: bleu of 'Attentive' is not in COLUMNS",
        ),
    ],
)
def test_wrong_tables_are_named(tmp_path, table, message):
    with pytest.raises(InputError, match=message):
        read_paper(paper_folder(tmp_path, table))


def test_a_folder_without_a_table(tmp_path):
    with pytest.raises(InputError, match=r"none/table\.py: no such file; --table takes a folder"):
        read_paper(tmp_path / "none")
