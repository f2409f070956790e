"""The sentences of the page's picker, and what each cell makes of them, as HTML.

Alignments are HTML tables and no pictures: some kilobytes each, so that a page holds hundreds.
"""

import html
import math
from typing import Any, NamedTuple

from seq2seq_jax.reports.results import Results, references_of

TEST_SENTENCES = 20
BUDGET = 3_000_000  # characters that the test sentences may take; the page stays below 5 MB


class Translation(NamedTuple):
    """What one cell makes of a sentence: a line of predictions/<split>.jsonl."""

    cell: str
    seed: int
    line: dict[str, Any]


# (source, its references) -> translations; a sentence of evaluation.show has no reference.
Sentences = dict[tuple[str, tuple[str, ...]], list[Translation]]


def shown_translations(results: Results) -> Sentences:
    """The sentences of `evaluation.show`, by the first finished seed of every cell."""
    return _translations(results, "show", None)


def tested_translations(results: Results, most: int = TEST_SENTENCES) -> Sentences:
    """The first test sentences of every cell, by its first finished seed."""
    return _translations(results, "test", most)


def _translations(results: Results, split: str, most: int | None) -> Sentences:
    found: Sentences = {}
    for cell in results.cells:
        for seed in results.finished(cell)[:1]:
            lines = sorted(results.predictions(cell, seed, split), key=lambda line: line["index"])
            for line in lines[:most]:
                sentence = line["source"], references_of(line) if line["reference"] else ()
                found.setdefault(sentence, []).append(Translation(cell, seed, line))
    return found


def translations_html(shown: Sentences, tested: Sentences) -> str:
    """A picker, and for each sentence a card a cell; empty without sentences.

    Test sentences beyond BUDGET characters are left out, and so is one that takes as many by
    itself; the caption says how many there are.
    """
    parts = [_sentence(sentence, made) for sentence, made in shown.items()]
    labels = [_option(sentence) for sentence in shown]
    tests: list[str] = []
    test_labels: list[str] = []
    too_long = 0
    for sentence, made in tested.items():
        text = _sentence(sentence, made)
        if len(text) > BUDGET:
            too_long += 1
            continue
        if sum(map(len, tests)) + len(text) > BUDGET:
            break
        tests.append(text)
        test_labels.append(_option(sentence))
    but = f", but for {too_long} that are too long for this page" if too_long else ""
    if not parts + tests:
        none = f'<p class="caption">All {too_long} test sentences are too long for this page.</p>\n'
        return none if too_long else ""
    groups = (("Chosen sentences", labels), ("Test set", test_labels))
    options = "".join(
        f'<optgroup label="{title}">{"".join(names)}</optgroup>' for title, names in groups if names
    )
    picker = f'<p><label>Sentence <select id="sentence">{options}</select></label></p>\n'
    first, *others = parts + tests
    hidden = "".join(
        part.replace('class="sentence"', 'class="sentence" hidden', 1) for part in others
    )
    caption = (
        f"Translations by the first finished seed of each cell: {len(parts)} chosen sentences and "
        f"the first {len(tests) + too_long} of the test set{but}. A row shows where the model "
        "looked when it wrote that word, the mean over heads; outlined: gold links, where the "
        "translation is the reference."
    )
    return (picker if others else "") + first + hidden + f'<p class="caption">{caption}</p>\n'


def _text(text: object) -> str:
    return html.escape(str(text))


def _option(sentence: tuple[str, tuple[str, ...]]) -> str:
    return f"<option>{_text(sentence[0])}</option>"


def _sentence(sentence: tuple[str, tuple[str, ...]], made: list[Translation]) -> str:
    source, references = sentence
    cards = "".join(_card(translation, references) for translation in made)
    right = " | ".join(references)
    wanted = f'<p class="caption">reference: {_text(right)}</p>\n' if right else ""
    return (
        f'<div class="sentence">\n<p class="source">{_text(source)}</p>\n{wanted}'
        f'<div class="cards">\n{cards}</div></div>\n'
    )


def _card(translation: Translation, references: tuple[str, ...]) -> str:
    line = translation.line
    right = ", equals a reference" if line["hypothesis"] in references else ""
    score = -math.inf if line["score"] is None else line["score"]  # JSON has no infinity
    return (
        f"<figure><figcaption><b>{_text(translation.cell)}</b> <span>seed {translation.seed}, "
        f"log p {score:.2f}{right}</span><br>{_text(line['hypothesis'])}</figcaption>\n"
        f"{alignment_html(line)}</figure>\n"
    )


def alignment_html(line: dict[str, Any]) -> str:
    """Source words above, written words at the left; the darker, the greater the weight."""
    weights_TS = line["alignment"] or []
    if not any(map(any, weights_TS)):
        return '<p class="caption">no attention</p>\n'
    drawn = line["gold"] and line["hypothesis"] == line["reference"]
    gold = {tuple(link) for link in line["gold"]} if drawn else set()
    words = "".join(
        f'<th scope="col"><span>{_text(word)}</span></th>' for word in line["source_tokens"]
    )
    rows = []
    for t, (word, weights_S) in enumerate(zip(line["hypothesis_tokens"], weights_TS, strict=True)):
        cells = "".join(_weight(weight, (s, t) in gold) for s, weight in enumerate(weights_S))
        rows.append(f'<tr><th scope="row">{_text(word)}</th>{cells}</tr>\n')
    return (
        f'<div class="scroll"><table class="alignment">\n<thead><tr><td></td>{words}</tr></thead>\n'
        f"<tbody>\n{''.join(rows)}</tbody></table></div>\n"
    )


def _weight(weight: float, gold: bool) -> str:
    """Most weights are next to nothing, and next to nothing is written for them."""
    percent = round(100 * weight) if math.isfinite(weight) else 0
    style = f' style="--w:{percent}"' if percent else ""
    outlined = ' class="gold"' if gold else ""
    return f"<td{style}{outlined}></td>"
