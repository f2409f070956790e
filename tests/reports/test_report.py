import json
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from seq2seq_jax.reports.report import write_report
from seq2seq_jax.types import InputError
from tests.reports import fake_sweep

EVIL = """"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;"""
VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """The tags with attributes, and the text outside of style and script; tags must be closed."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def all(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


def page_of(folder) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """The folder of a finished sweep with its report."""
    folder = fake_sweep.quickstart(tmp_path_factory.mktemp("quickstart"))
    return folder, write_report(folder)


def test_writes_every_format_and_picture(quickstart):
    folder, report = quickstart
    written = {str(path.relative_to(folder)) for path in report.files}
    assert written == {
        *("report.md", "report.csv", "report.tex", "report.html"),
        *("figures/curves.png", "figures/lengths.png", "figures/exposure.png"),
        *("figures/diagnostics.png", "figures/heads.png"),
        "figures/alignment-1-score=general.png",  # none has no alignment
    }
    assert all(path.stat().st_size > 100 for path in report.files)
    assert "55.0 ± 7.1" in report.console
    assert "82.00 ± 7.07" in (folder / "report.md").read_text(encoding="utf-8")


@pytest.fixture
def no_pictures(monkeypatch):
    """For what is no matter of pictures: they take most of a report's time."""
    monkeypatch.setattr("seq2seq_jax.reports.report.PICTURES", ())


@pytest.mark.usefixtures("no_pictures")
def test_only_the_formats_asked_for(tmp_path):
    folder = fake_sweep.quickstart(tmp_path)
    write_report(folder, formats=["csv"])
    assert sorted(path.suffix for path in folder.glob("report.*")) == [".csv"]
    with pytest.raises(InputError, match="unknown format pdf; there are: md, csv, latex, html"):
        write_report(folder, formats=["md", "pdf"])


def test_page_needs_nothing_else(quickstart):
    folder, _ = quickstart
    page = page_of(folder)
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "base", "object", "embed"}, tag
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            if name in attributes:
                assert attributes[name].startswith(("#", "data:")), (tag, attributes)
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "http" not in text
    assert "@import" not in text
    assert text.count("url(") == text.count("url(#")


def test_page_shows_the_results(quickstart):
    folder, _ = quickstart
    page = page_of(folder)
    text = "\n".join(page.text)
    for expected in (
        *("score=none (baseline)", "85.0 ± 7.1 †", "2.150 ± 0.071", "39.0 ± 4.2", "20,000"),
        *("je suis étudiant", "i am a student", "no attention", "Learning curves", "Exposure gap"),
        *(
            fake_sweep.SIGNATURE,
            fake_sweep.COMMAND,
            "jax 0.10.2, flax 0.12.8",
            "AMD EPYC, 2 cores",
            "abc123",
        ),
        *("Alignment diagnostics", "Alignment heads"),
        *("Scores by source length", "4 of 4 runs finished", "Compared with score=none"),
    ):
        assert expected in text
    orders = [cell["data-order"] for cell in page.all("td") if "data-order" in cell]
    assert "55.0" in [order[:4] for order in orders]
    assert len(page.all("svg")) == 5
    assert len([item for item in page.all("table") if item["class"] == "alignment"]) == 7
    assert "Not in the table" not in text
    labels = [item["label"] for item in page.all("optgroup")]
    assert labels == ["Chosen sentences", "Test set"]
    assert len(page.all("option")) == 1 + 6


@pytest.mark.usefixtures("no_pictures")
def test_sentences_can_be_picked(tmp_path):
    folder = fake_sweep.quickstart(tmp_path)
    show = folder / "score=general" / "seed0" / "predictions" / "show.jsonl"
    more = fake_sweep.line(1, fake_sweep.SENTENCES[1], "the cat sleeps")
    show.write_text(show.read_text() + json.dumps(more) + "\n")
    write_report(folder)
    page = page_of(folder)
    assert len(page.all("option")) == 2 + 6
    sentences = [item for item in page.all("div") if "sentence" in item.values()]
    assert ["hidden" in item for item in sentences] == [False, *[True] * 7]
    assert (folder / "figures" / "alignment-2-score=general.png").exists()


@pytest.mark.usefixtures("no_pictures")
def test_half_done_sweep_with_a_failure(tmp_path):
    folder = fake_sweep.quickstart(tmp_path)
    fake_sweep.write_sweep(folder, {"score=none": {}, "score=general": {}, "new": {}, "bad": {}})
    fake_sweep.write_run(folder / "bad" / "seed0", failed="Traceback\nNaN loss at step 9")
    (folder / "score=general" / "seed1" / "DONE").unlink()
    write_report(folder)
    text = "\n".join(page_of(folder).text)
    assert "Failed: bad, seed 0: NaN loss at step 9" in text
    assert "Not finished: score=general, seed 1: step 400 so far" in text
    assert "Not started: new, seed 1" in text
    assert "1 of 2" in text


def test_nothing_but_a_plan(tmp_path):
    folder = fake_sweep.write_sweep(tmp_path, {"a": {}})
    assert "Not started: a, seed 0" in write_report(folder).console
    assert not (folder / "figures").exists()


def test_single_run(tmp_path):
    final = {"test/bleu": 12.25, "test/exact_match": 0.5}
    fake_sweep.write_run(tmp_path / "mine", final=final, done=fake_sweep.done())
    assert "12.25" in write_report(tmp_path / "mine").console
    assert (tmp_path / "mine" / "report.html").exists()


def test_wrong_folder(tmp_path):
    with pytest.raises(InputError, match="neither a sweep"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_all_text_from_data_is_escaped(tmp_path):
    cell = EVIL.replace("/", "\\")  # a folder's name cannot hold a slash
    spec = {"command": EVIL, "config": EVIL}
    fake_sweep.write_sweep(tmp_path, {cell: {}, f"{cell}2": {}}, seeds=(0, 1), **spec)
    for name in (cell, f"{cell}2"):
        run = fake_sweep.write_run(
            tmp_path / name / "seed0",
            final={"test/bleu": 1.0},
            curve=fake_sweep.curve(0.5),
            hypotheses=[EVIL, "b"],
            done=fake_sweep.done(),
        )
        for split in ("show", "test"):
            path = run / "predictions" / f"{split}.jsonl"
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            for line in lines:
                line["source"] = EVIL
                line["source_tokens"] = [EVIL] * len(line["source_tokens"])
                line["hypothesis_tokens"] = [EVIL] * len(line["hypothesis_tokens"])
            lines.append({**lines[-1], "source": f"{EVIL}2", "index": len(lines)})
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        environment = json.loads((run / "environment.json").read_text())
        environment |= {"device": EVIL, "platform": EVIL, "versions": {EVIL: EVIL}}
        (run / "environment.json").write_text(json.dumps(environment))
        fake_sweep.write_run(tmp_path / name / "seed1", failed=EVIL)
    published = tmp_path / "published.csv"
    doubled = EVIL.replace('"', '""')
    published.write_text(f'row,metric,value,source,certainty\n"{doubled}",bleu,1,"{doubled}",y\n')
    write_report(tmp_path, published=published)
    page = page_of(tmp_path)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "".join(page.text).count(EVIL) > 10
    assert "".join(page.text).count(cell) > 10
    assert "<script" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_report_needs_neither_jax_nor_tensorflow():
    code = (
        "import sys, seq2seq_jax.reports.report;"
        "print([name for name in ('jax', 'flax', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
