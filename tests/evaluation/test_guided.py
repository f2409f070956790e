"""Guided alignment from a config to a test score."""

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.evaluation import run
from seq2seq_jax.evaluation.population import train_population
from seq2seq_jax.types import InputError
from tests.evaluation.test_population_folders import SMALL

GUIDED = {**SMALL, "train.steps": 60, "train.eval_every": 60, "train.log_every": 60}


def test_attention_that_is_told_where_to_look_agrees_with_gold_links(tmp_path):
    """Reversing, too few updates to find out alone: of two runs in one program the guided one."""
    folders = [tmp_path / "hardly", tmp_path / "guided"]
    for folder, weight in zip(folders, (1e-9, 3.0), strict=True):
        folder.mkdir()
        own = {**GUIDED, "train.guided_alignment": weight}
        configs.save(configs.load("configs/default.py", own), folder / "config.json")
    assert train_population(folders) == {}
    hardly, guided = (run.load_run(folder).evaluate("test", ["forced"]) for folder in folders)
    assert guided["aer"] < 0.5 * hardly["aer"]
    assert guided["gold_distance"] < 0.5 * hardly["gold_distance"]


def test_training_pairs_without_links_end_a_guided_run_before_it_begins(tmp_path):
    own = {**SMALL, "data.name": "addition", "train.guided_alignment": 1.0}
    with pytest.raises(InputError, match=r"train\.guided_alignment needs gold links"):
        run.train(configs.load("configs/default.py", own), tmp_path / "run")
