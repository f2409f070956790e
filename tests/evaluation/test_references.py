"""Several references of a word, from the builder's files to scores, predictions and reports."""

import json

import numpy as np
import pytest

from seq2seq_jax.commands.evaluate import table
from seq2seq_jax.data import load_data
from seq2seq_jax.decoding.translate import Translation, Translator
from seq2seq_jax.evaluation.assembly import evaluate
from seq2seq_jax.evaluation.evaluator import Evaluator
from seq2seq_jax.reports.results import references_of
from tests.data.tiny_g2p import write_g2p
from tests.small import small_config, small_model


class Spoken(Translator):
    """A translator that says these, whatever it is asked."""

    def __init__(self, *hypotheses):
        self.hypotheses = hypotheses

    def search(self, params, sources, strategy):
        return [
            [Translation(text, -1.0, -1.0, [*text.split(), "</s>"], ["x"], np.ones((1, 1)), [])]
            for text, _ in zip(self.hypotheses, sources, strict=True)
        ]


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("g2p")
    write_g2p(folder, "".join(f"W{i}\tD AH\nW{i}\tD IY\n" for i in range(60)))
    config = small_config()
    config.data.name, config.data.dir = "tfds:cmudict_g2p", str(folder)
    config.data.source.tokens, config.data.target.lowercase = "character", True
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder / "tfds"))
        data = load_data(config.data)
    return Evaluator(config, small_model()[0], data, ((8, 8),))


def test_any_pronunciation_is_right_and_the_closest_counts(evaluator, tmp_path):
    """ABBE has AE B IY and AE B EY, ABLE has EY B AH L; lower-cased by the vocabulary."""
    evaluator.translator = Spoken("ae b ey", "ey b l")
    found = evaluate(tmp_path, evaluator, None, 7, "test", ["greedy"])
    assert found["metrics"]["exact_match"] == found["metrics"]["sequence_error_rate"] == 0.5
    assert found["metrics"]["token_error_rate"] == 1 / 7  # one edit; 3 + 4 phonemes
    assert "nrefs:var" in found["bleu_signature"]
    assert found["intervals"]["exact_match"] == [0.0, 1.0]
    assert found["intervals"]["token_error_rate"] == [0.0, 0.25]
    (line,) = found["by_length"]
    assert (line["words"], line["sentences"], line["bleu"]) == ([4, 4], 2, None)
    predictions = tmp_path / "predictions"
    assert json.loads((predictions / "test.json").read_text()) == found
    lines = [json.loads(text) for text in (predictions / "test.jsonl").read_text().splitlines()]
    assert [line["reference"] for line in lines] == ["ae b iy", "ey b ah l"]
    assert lines[0]["references"] == ["ae b iy", "ae b ey"]
    assert "references" not in lines[1]
    assert list(map(references_of, lines)) == [("ae b iy", "ae b ey"), ("ey b ah l",)]


def test_beam_search_has_numbers_of_its_own(evaluator, tmp_path):
    evaluator.translator = Spoken("ae b ey", "ey b ah l")
    found = evaluate(tmp_path, evaluator, None, 7, "test", ["beam"])
    assert found["metrics"]["exact_match_beam"] == 1.0
    assert found["intervals"]["ter_beam"] == [0.0, 0.0]
    assert [line["exact_match"] for line in found["by_length_beam"]] == [1.0]
    line, _ = (tmp_path / "predictions" / "test.beam.jsonl").read_text().splitlines()
    assert json.loads(line)["references"] == ["ae b iy", "ae b ey"]


def test_the_tables_of_the_command(evaluator, tmp_path):
    evaluator.translator = Spoken("ae b iy", "ey b ah l")
    text = table(evaluate(tmp_path, evaluator, None, 7, "test", ["greedy"]))
    metrics, lengths = ([row.split() for row in part.splitlines()] for part in text.split("\n\n"))
    assert metrics[0] == ["metric", "value", "95%", "interval"]
    assert ["chrf", "100.0000", "100.0000", "to", "100.0000"] in metrics
    assert lengths == [
        ["source", "words", "sentences", "exact_match", "bleu", "token_error_rate"],
        ["4", "2", "1.0000", "100.0000", "0.0000"],
    ]
