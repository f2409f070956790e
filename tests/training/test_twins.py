"""Runs of a sweep that differ in how their test is searched: one training for all."""

import json
import shutil

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.evaluation import run
from seq2seq_jax.training import loop, twins
from tests.evaluation.test_population_folders import SMALL

SEARCH = {"beam": 3, "length_penalty": "average", "min_length": 2, "replace_unknown": True}
BEAM = {f"evaluation.{key}": value for key, value in SEARCH.items()}


def config(**changes):
    return configs.load("configs/default.py", {**SMALL, **changes})


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep with one run that has ended."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "sweep.json").write_text("{}")
    run.train(config(), folder / "greedy" / "seed0")
    return folder


@pytest.fixture
def folder(sweep):
    """That of a new run."""
    path = sweep / "new" / "seed0"
    path.mkdir(parents=True)
    yield path
    shutil.rmtree(path.parent)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_only_the_test_is_new(sweep, folder, monkeypatch, capsys):
    def update(self):
        raise AssertionError("an update")

    monkeypatch.setattr(loop._Trainer, "_update", update)
    run.train(config(**BEAM), folder)
    assert "trained as greedy/seed0" in capsys.readouterr().out
    *training, test = lines(folder)
    *wanted, greedy = lines(sweep / "greedy" / "seed0")
    assert training == wanted
    assert {name: test[name] for name in greedy} == greedy
    twin = run.load_run(sweep / "greedy" / "seed0", evaluation=SEARCH)
    beam = {f"test/{name}": value for name, value in twin.evaluate("test", ["beam"]).items()}
    assert beam and beam.items() <= test.items()
    assert json.loads((folder / "DONE").read_text())["reason"] == "finished"


@pytest.mark.parametrize("changes", [{"train.learning_rate": 0.02}, {"seed": 1}], ids=str)
def test_another_training_is_no_twin(folder, changes):
    assert twins.adopt(config(**changes), folder) is None
    assert not list(folder.iterdir())


def test_a_validation_that_searches_with_a_beam_makes_no_twin(sweep, folder):
    modes = {"evaluation.modes": ("forced", "beam")}
    ended = sweep / "beam" / "seed0"
    ended.mkdir(parents=True)
    configs.save(config(**modes, **{"evaluation.beam": 2}), ended / "config.json")
    (ended / "DONE").touch()
    assert twins.adopt(config(**modes, **{"evaluation.beam": 3}), folder) is None
    shutil.rmtree(ended.parent)


def test_a_twin_has_ended_and_is_of_the_same_sweep_and_seed(sweep, folder, monkeypatch):
    done = sweep / "greedy" / "seed0" / "DONE"
    done.rename(sweep / "kept")
    assert twins.adopt(config(**BEAM), folder) is None
    (sweep / "kept").rename(done)
    other = sweep / "new" / "seed1"
    other.mkdir()
    assert twins.adopt(config(**BEAM), other) is None
    (sweep / "sweep.json").rename(sweep / "no.json")
    assert twins.adopt(config(**BEAM), folder) is None
    (sweep / "no.json").rename(sweep / "sweep.json")
    assert twins.adopt(config(**BEAM), folder) == sweep / "greedy" / "seed0"


def test_a_run_that_has_begun_goes_on_by_itself(folder):
    (folder / "checkpoints" / "last" / "4").mkdir(parents=True)
    assert twins.adopt(config(**BEAM), folder) is None
    assert not (folder / "metrics.jsonl").exists()


def test_a_copy_that_was_killed_is_made_again(sweep, folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(twins, "LOGS", ("metrics.jsonl", "missing.jsonl"))
        with pytest.raises(FileNotFoundError):
            twins.adopt(config(**BEAM), folder)
    assert (folder / "checkpoints.partial").exists() and not (folder / "checkpoints").exists()
    assert twins.adopt(config(**BEAM), folder)
    assert not (folder / "checkpoints.partial").exists()
    names = {path.name for path in (folder / "checkpoints" / "best").iterdir()}
    assert names == {path.name for path in (sweep / "greedy/seed0/checkpoints/best").iterdir()}
