"""Tables as text of each format: escaped, rectangular, and LaTeX that compiles."""

import re
import shutil
import subprocess

import pytest

from seq2seq_jax.reports import formats
from seq2seq_jax.reports.significance import Comparison
from tests.reports.small_tables import (
    console,
    latex,
    markdown,
    one_metric,
    published_file,
    table_of,
)

NASTY = r"a|b_*c*<script>&\{x}%$#^~[l](u)`d`"


def nasty_table(tmp_path):
    table = table_of(one_metric(tmp_path, "bleu", a=[1.0], b=[2.0]))
    rows = [row._replace(name=NASTY, cell=NASTY) for row in table.rows]
    return table._replace(rows=rows, missing=[f"Failed: {NASTY}\nsecond line"])


@pytest.mark.parametrize("start", ["- ", "+ ", "1. ", "12) "])
def test_a_note_that_begins_as_a_list_is_none(tmp_path, start):
    table = table_of(one_metric(tmp_path, "bleu", a=[1.0]))._replace(missing=[f"{start}x", "-y"])
    first, second = markdown(table).splitlines()[-2:]
    number, mark = start[:-2], start[-2]
    assert (first, second) == (f"- {number}\\{mark} x", "- -y")


def test_numbers_of_what_has_diverged_are_short(tmp_path):
    folder = one_metric(tmp_path, "perplexity", a=[2.0, 3.0], b=[1e120, 3e120])
    assert "2e+120 ± 1.41e+120" in markdown(table_of(folder))


def test_markdown_is_escaped(tmp_path):
    text = markdown(nasty_table(tmp_path))
    row = text.splitlines()[2]
    # Undoing the escapes of CommonMark gives the name again, in one place of the row.
    places = re.split(r"(?<!\\)\|", row)
    assert len(places) == len(re.split(r"(?<!\\)\|", text.splitlines()[0]))
    shown = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", places[1].strip())
    shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown == NASTY
    assert "<script" not in text
    assert re.search(r"(?<!\\)[`*_\[$]", places[1]) is None
    assert text.splitlines()[-1].endswith("second line")


def test_latex_keeps_hyphens(tmp_path):
    table = table_of(one_metric(tmp_path, "bleu", a=[1.0]))._replace(missing=["--workdir=`x`"])
    assert r"-{}-workdir=\textasciigrave{}x\textasciigrave{}" in latex(table)


def test_latex_is_escaped(tmp_path):
    text = latex(nasty_table(tmp_path))
    row = next(line for line in text.splitlines() if "script" in line)
    assert len(re.findall(r"(?<!\\)&", row)) == 4
    assert re.search(r"(?<!\\)[#%_]", row) is None
    assert re.search(r"[|<>^~]", row) is None
    name = (
        r"a\textbar{}b\_{*}c{*}\textless{}script\textgreater{}\&\textbackslash{}\{x\}\%\$\#"
        r"\textasciicircum{}\textasciitilde{}{[}l](u)\textasciigrave{}d\textasciigrave{}"
    )
    assert row.startswith(name + " & ")
    assert r"\begin{tabular}{lrrrr}" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_latex_is_balanced_and_rectangular(tmp_path):
    folder = one_metric(tmp_path / "s", "bleu", **{NASTY.replace("/", ""): [1.0, 2.0], "b": [3.0]})
    numbers = published_file(tmp_path, "b,bleu,28.30,{_%,P", '"x & y",bleu,3,$,(mem)')
    comparison = Comparison("b", "bleu", 1.5, 1.0, 2.0, 0.01)
    text = latex(table_of(folder, [comparison], numbers)._replace(title=NASTY))
    bare = re.sub(r"\\[{}\\&]", "", text)  # escaped ones do not count
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    for part in text.split(r"\begin{tabular}{")[1:]:
        sides = part.split("}")[0]
        body = part.split("\n\\end{tabular}")[0]
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= 2
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(sides) - 1}


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_latex_compiles(tmp_path):
    """Rows that begin with [ or * would be taken for an argument of the line break above them."""
    names = [NASTY.replace("/", ""), "[bold] x", "*starred"]
    folder = one_metric(tmp_path / "s", "bleu", **{name: [1.0, 2.0] for name in names})
    numbers = published_file(tmp_path, "*starred,bleu,28.30,{_%,P", '"x & y",bleu,3,$,(mem)')
    comparison = Comparison("*starred", "bleu", 1.5, 1.0, 2.0, 0.01)
    text = latex(table_of(folder, [comparison], numbers)._replace(title=NASTY))
    document = ["\\documentclass{article}\\usepackage{booktabs}\\begin{document}", text]
    (tmp_path / "t.tex").write_text("\n".join([*document, "\\end{document}\n"]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout[-2000:]


def test_latex_marks(tmp_path):
    folder = one_metric(tmp_path, "bleu", a=[1.0, 2.0], b=[2.0, 4.0])
    text = latex(table_of(folder, [Comparison("b", "bleu", 1.5, 1.0, 2.0, 0.01)]))
    assert r"b & \textbf{3.00 $\pm$ 1.41 $^\dagger$} &" in text
    assert r"BLEU $\uparrow$" in text
    assert text.isascii()


def test_console_text_keeps_brackets_and_lines_up(tmp_path):
    folder = one_metric(tmp_path, "bleu", **{"[bold]x": [1.0], "b" * 60: [2.0]})
    comparison = Comparison("b" * 60, "bleu", 1.0, 0.5, 1.5, 0.5)
    text = console(table_of(folder, [comparison]))
    assert "difference from [bold]x" in text
    header, first, second = text.splitlines()[:3]
    assert first.index("1.00") + 4 == second.index("*2.00") + 5 == header.index("BLEU ↑") + 6


def test_latex_makes_no_dashes_and_quotes_of_ascii():
    assert formats.escape_latex("a--b---c ''") == "a-{}-b-{}-{}-c {'}{'}"
