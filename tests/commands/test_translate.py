"""What `translate` makes of a translation, and of a terminal, without a model."""

import json
import sys

import numpy as np

from seq2seq_jax.commands.translate import as_json, prompt
from seq2seq_jax.decoding.translate import Translation
from seq2seq_jax.evaluation.predictions import as_line


def test_scores_of_nothing_are_null():
    """JSON has no infinity, and every hypothesis may have been forbidden."""
    nothing = Translation("", -np.inf, -np.inf, [], ["</s>"], np.zeros((0, 1)), [])

    def refuse(constant):
        raise AssertionError(constant)

    (one,) = json.loads(as_json("a", [nothing]), parse_constant=refuse)["translations"]
    assert one == {"text": "", "score": None, "log_probability": None}
    assert as_line(0, "a", None, nothing, None)["score"] is None


def test_a_python_without_readline_has_a_prompt(monkeypatch):
    monkeypatch.setitem(sys.modules, "readline", None)
    monkeypatch.setattr("builtins.input", lambda text: "je")
    assert next(prompt()) == "je"
