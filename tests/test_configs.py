"""Every shipped experiment: each of its cells is valid, named, and can be built."""

import json
from functools import cache

import jax
import pytest
from ml_collections import ConfigDict

from seq2seq_jax import config as configs
from seq2seq_jax import config_checks as checks
from seq2seq_jax.data.tasks import TASKS
from seq2seq_jax.data.vocabulary import UNICODE
from seq2seq_jax.evaluation.evaluator import MODES
from seq2seq_jax.models.attention.memory_terms import MEMORY_TERMS
from seq2seq_jax.models.attention.normalizers import NORMALIZERS
from seq2seq_jax.models.attention.scores import SCORES
from seq2seq_jax.models.attention.windows import WINDOWS
from seq2seq_jax.models.recurrent import CELLS
from seq2seq_jax.models.seq2seq import DECODERS, ENCODERS, initialize
from seq2seq_jax.sweeps import grid
from seq2seq_jax.training.feeds import FEEDS

FILES = sorted(
    str(path.relative_to(configs.PROJECT)) for path in configs.PROJECT.glob("configs/[!_]*.py")
)
# Arguments whose config or cells are others than those of the file alone.
ARGUMENTS = ["multi30k.py:fr_en", "luong2015.py:wmt14", "length.py:tatoeba"]
ARGUMENTS += [f"teacher_forcing.py:{data}" for data in ("g2p", "tatoeba")]
SHIPPED = [*FILES, *(f"configs/{name}" for name in ARGUMENTS)]
POINTS = [(path, i) for path in SHIPPED for i in range(len(configs.points(path)))]


@cache
def build(model: str) -> None:
    """Shapes alone: no array is made. Once for all cells that share a model."""
    config = ConfigDict(json.loads(model))
    jax.eval_shape(lambda key: initialize(config, 30, 40, key)[1], jax.random.key(0))


@pytest.mark.parametrize(("path", "index"), POINTS)
def test_every_cell_is_valid_and_builds(path, index):
    config = configs.load(path, configs.points(path)[index])
    build(config.model.to_json())


@pytest.mark.parametrize("path", SHIPPED)
def test_cells_have_names_and_the_baseline_is_one(path):
    names = grid.cell_names(configs.points(path))
    assert len(set(names)) == len(names)
    assert grid.baseline(configs.load(path).sweep.baseline, names) in names


@pytest.mark.parametrize("path", [path for path in FILES if not path.endswith("default.py")])
def test_docstring_holds_question_command_cost_and_result(path):
    text = (configs.PROJECT / path).read_text(encoding="utf-8").split('"""')[1]
    assert "?" in text
    for word in ("Command:", "Cost:", "Expected:", path):
        assert word in text


def test_names_are_those_of_the_registries():
    assert set(checks.TASKS) == set(TASKS)
    assert set(checks.SCORES) == {"none", *SCORES}
    assert set(checks.NORMALIZERS) == set(NORMALIZERS)
    assert set(checks.WINDOWS) == set(WINDOWS)
    assert set(checks.MEMORY_TERMS) == {"none", *MEMORY_TERMS}
    assert set(checks.CELLS) == set(CELLS)
    assert set(checks.FEEDS) == set(FEEDS)
    assert set(checks.KINDS) == set(ENCODERS) == set(DECODERS)
    assert set(checks.CHOICES["evaluation.modes"]) == set(MODES)
    assert set(checks.CHOICES["data.source.unicode"]) == set(UNICODE)
