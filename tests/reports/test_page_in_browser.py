"""The page as a reader has it: opened from a file, sorted, picked from, and looked at."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from seq2seq_jax.reports.report import write_report
from tests.reports import fake_sweep
from tests.reports.browser import BINARIES, browser

pytestmark = pytest.mark.skipif(
    not all(BINARIES), reason="no browser: install chromium and chromium-driver (Debian's names)"
)
EVIL = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
TABLE = "document.querySelector('table.sortable')"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A browser that shows the report of two finished cells, one half done and one not begun."""
    folder = fake_sweep.quickstart(tmp_path_factory.mktemp("sweep"))
    cells = {"score=none": {}, "score=general": {}, "half": {}, EVIL.replace("/", "\\"): {}}
    fake_sweep.write_sweep(folder, cells, command=EVIL)
    final = {"test/exact_match": 0.08, "test/bleu": 100.0}
    fake_sweep.write_run(
        folder / "half" / "seed0", final=final, hypotheses=[EVIL] * 3, done=fake_sweep.done(900)
    )
    fake_sweep.write_run(folder / "half" / "seed1", failed=EVIL)
    path = folder / "score=general" / "seed0" / "predictions" / "test.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0] |= {"source_tokens": [EVIL] * len(lines[0]["source_tokens"])}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_report(folder, formats=("html",))
    with browser(tmp_path_factory.mktemp("profile")) as window:
        window.look()
        window.open(folder / "report.html")
        yield window


def column(page, index):
    """The texts of a column of the first table, from top to bottom."""
    return page.run(f"return [...{TABLE}.tBodies[0].rows].map(r => r.cells[{index}].innerText)")


def header(page, title):
    titles = page.run(f"return [...{TABLE}.tHead.rows[0].cells].map(h => h.innerText)")
    return next(i for i, text in enumerate(titles) if text.startswith(title))


def test_opens_without_a_word_on_the_console(page):
    page.messages()
    page.reload()
    assert page.run("return document.title").endswith(": report")
    assert page.messages() == []
    page.run("console.error('it would be seen')")
    assert "it would be seen" in page.messages()[0]


def test_a_click_sorts_and_another_one_turns_it_round(page):
    index = header(page, "BLEU")
    css = f"table.sortable th:nth-child({index + 1}) button"
    shown = f"return {TABLE}.tHead.rows[0].cells[{index}].getAttribute('aria-sort')"
    assert page.run(shown) is None
    page.click(css)
    means = [text.split(" ±")[0] for text in column(page, index)]
    assert means == ["52.00", "82.00", "100.00", "-"]  # numbers as numbers; nothing last
    assert page.run(shown) == "ascending"
    page.type(css, "\n")  # the keyboard does it too
    means = [text.split(" ±")[0] for text in column(page, index)]
    assert means == ["100.00", "82.00", "52.00", "-"]
    assert page.run(shown) == "descending"
    page.click("table.sortable th:first-child button")
    assert page.run(shown) is None
    assert column(page, 0)[1:] == ["half", "score=general", "score=none (baseline)"]


def test_numbers_are_sorted_as_numbers(page):
    page.reload()
    index = header(page, "BLEU")
    orders = ["0.5", "-2.0", "Infinity", "-10.5"]  # as text, or by digits, they sort otherwise
    rows = f"[...{TABLE}.tBodies[0].rows].map(r => r.cells[{index}])"
    page.run(f"{rows}.forEach((cell, i) => {{ cell.dataset.order = {orders}[i] }})")
    page.click(f"table.sortable th:nth-child({index + 1}) button")
    sorted_ = page.run(f"return {rows}.map(cell => cell.dataset.order)")
    assert sorted_ == ["-10.5", "-2.0", "0.5", "Infinity"]
    page.reload()


def test_the_picker_shows_one_sentence_at_a_time(page):
    visible = "return [...document.querySelectorAll('.sentence')].filter(s => s.offsetHeight > 0)"
    sources = f"{visible}.map(s => s.querySelector('.source').innerText)"
    assert page.run(sources) == ["je suis étudiant"]
    options = page.run("return [...document.getElementById('sentence').options].map(o => o.text)")
    assert options == ["je suis étudiant", *(source for source, _, _ in fake_sweep.SENTENCES)]
    page.click("#sentence option:nth-child(4)")
    assert page.run(sources) == [options[page.run("return sentence.selectedIndex")]]
    assert page.run(sources) != ["je suis étudiant"]
    page.type("#sentence", "vous")
    assert page.run(sources) == [options[5]]
    cards = f"{visible}[0].querySelectorAll('figcaption b')"
    names = page.run(f"{cards.replace('return', 'return [...')}].map(b => b.innerText)")
    assert names == ["score=none", "score=general"]


def test_a_weight_is_as_dark_as_it_is_great(page):
    colour = "getComputedStyle(document.querySelector('.sentence .alignment td[style]'))"
    weight = page.run("return document.querySelector('.alignment td[style]').style.cssText")
    alpha = page.run(f"return {colour}.backgroundColor").split("/")[-1].strip(" )")
    assert float(alpha.split(",")[-1]) == pytest.approx(int(weight.split(":")[1].strip(" ;")) / 100)


def test_the_links_lead_to_parts(page):
    ids = page.run("return [...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    titles = page.run("return [...document.querySelectorAll('nav a')].map(a => a.innerText)")
    for name, title in zip(ids, titles, strict=True):
        assert page.run(f"return document.getElementById('{name}').innerText").startswith(title)
    assert titles[:2] == ["Results", "Not in the table"]


def test_text_from_data_never_runs(page):
    assert page.run("return document.title") != "run"
    assert page.run("return document.images.length") == 0
    assert page.run("return document.scripts.length") == 1
    text = page.run("return document.body.textContent")
    assert text.count(EVIL) > 3


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False)])
def test_it_can_be_seen(page, tmp_path, width, dark):
    page.look(width=width, dark=dark)
    seen = imread(page.picture(tmp_path / "page.png"))[..., :3]
    assert seen.shape[:2] == (900, width)
    paper = np.median(seen)
    assert (paper < 0.2) if dark else (paper > 0.95)
    assert 0.02 < np.mean(np.abs(seen.mean(axis=-1) - paper) > 0.3) < 0.5  # ink
    # Wide tables scroll in their own frames.
    assert page.run("return document.documentElement.scrollWidth") <= width
