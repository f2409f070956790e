"""A run's folder: what is refused there, and what a start that failed leaves."""

import json

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.evaluation import run
from seq2seq_jax.evaluation.assembly import begin
from seq2seq_jax.evaluation.population import train_population
from seq2seq_jax.types import InputError
from tests.evaluation.test_population_folders import SMALL

LETTERS = "abcdefgh"


def pairs(count: int) -> str:
    lines = (f"{LETTERS[i % 8]} {LETTERS[i // 8]}\tx {LETTERS[i % 8]}\n" for i in range(count))
    return "".join(lines)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "my pairs.tsv").write_text(pairs(40))
    text = {"name": "text", "dir": str(tmp_path), "train": "my pairs.tsv", "batch_size": 4}
    values = {f"data.{key}": value for key, value in text.items()}
    return configs.load("configs/default.py", SMALL | values)


def test_other_data_than_in_training_are_refused(config, tmp_path, capsys):
    """A split is a matter of all pairs: with five more, most of the test was trained on."""
    folder = tmp_path / "run"
    trained = run.train(config, folder)
    assert run.train(config, folder).step == trained.step
    assert f"{folder} is done" in capsys.readouterr().out
    before = trained.evaluate("test", ["greedy"])
    (tmp_path / "my pairs.tsv").write_text(pairs(45))
    (folder / "DONE").unlink()
    words = r"began with other pairs.*\n  train had 24 pairs, \w+ and has 29 pairs, \w+"
    for act in (lambda: run.load_run(folder).evaluate(), lambda: run.train(config, folder)):
        with pytest.raises(InputError, match=words):
            act()
    (tmp_path / "my pairs.tsv").write_text(pairs(40))
    assert run.load_run(folder).evaluate("test", ["greedy"]) == before
    checksums = folder / "vocabulary" / "pairs.json"
    whole = json.loads(checksums.read_text())
    # Of earlier versions: without links, or none at all.
    checksums.write_text(json.dumps({part: whole[part] for part in ("train", "valid", "test")}))
    assert run.load_run(folder).evaluate("test", ["greedy"]) == before
    checksums.unlink()
    assert run.load_run(folder).evaluate("test", ["greedy"]) == before


def test_a_run_that_would_be_refused_today_is_loaded(config, tmp_path):
    folder = tmp_path / "run"
    run.train(config, folder)
    stored = json.loads((folder / "config.json").read_text())
    stored["evaluation"] |= {"length_penalty": "power", "length_alpha": 12.0}
    (folder / "config.json").write_text(json.dumps(stored))
    assert run.load_run(folder).step
    with pytest.raises(InputError, match="length_alpha"):
        run.load_run(folder, evaluation={"beam": 2})


def test_metrics_of_a_folder_that_may_not_be_written_are_given(
    config, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "run"
    trained = run.train(config, folder)
    kept = trained.evaluate("valid", ["greedy"])
    (folder / "predictions" / "valid.json").unlink()
    monkeypatch.setattr(run.os, "access", lambda path, mode: False)
    assert trained.evaluate("valid", ["greedy"]) == kept
    assert not (folder / "predictions" / "valid.json").exists()
    assert f"{folder / 'predictions'} may not be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.train": "pairs.tsv"}, "the folder has my pairs.tsv"),
        ({"data.valid": "empty.tsv"}, "the valid split is empty"),
        ({"data.test": "empty.tsv"}, "the test split is empty; set data.test or data.test_size"),
        ({"train.best_metric": "valid/aer"}, "valid/aer needs gold links"),
    ],
    ids=str,
)
def test_a_start_that_fails_takes_the_mended_config(config, tmp_path, change, message):
    (tmp_path / "empty.tsv").touch()
    wrong = configs.load("configs/default.py", configs.flatten(config) | change)
    with pytest.raises(InputError, match=message):
        run.train(wrong, tmp_path / "run")
    begin(config, tmp_path / "run")
    assert configs.differences(configs.read(tmp_path / "run" / "config.json"), config) == []
    assert not (tmp_path / "run" / "vocabulary").exists()


def test_each_run_of_a_group_is_checked_before_any_trains(config, tmp_path):
    folders = [tmp_path / "loss", tmp_path / "links"]
    for folder, metric in zip(folders, ("valid/loss", "valid/aer"), strict=True):
        folder.mkdir()
        config.train.best_metric = metric
        configs.save(config, folder / "config.json")
    with pytest.raises(InputError, match=r"links: .* valid/aer needs gold links"):
        train_population(folders)
    assert not (folders[0] / "metrics.jsonl").exists()


@pytest.mark.parametrize("foreign", [None, '{"architectures": []}'])
def test_what_is_not_a_runs_is_left_alone(config, tmp_path, foreign):
    weights = tmp_path / "mine" / "checkpoints" / "weights.bin"
    weights.parent.mkdir(parents=True)
    weights.touch()
    if foreign is None:
        begin(config, tmp_path / "mine")
    else:
        (tmp_path / "mine" / "config.json").write_text(foreign)
        with pytest.raises(InputError, match="not a config of this version"):
            begin(config, tmp_path / "mine")
    assert weights.exists()


def test_a_run_that_has_begun_keeps_its_config(config, tmp_path):
    (tmp_path / "run" / "checkpoints" / "last" / "4").mkdir(parents=True)
    configs.save(config, tmp_path / "run" / "config.json")
    other = configs.load("configs/default.py", configs.flatten(config) | {"seed": 3})
    with pytest.raises(InputError, match="seed was 0 and is now 3"):
        begin(other, tmp_path / "run")
