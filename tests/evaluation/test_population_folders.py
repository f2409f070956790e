"""Runs that train as one program, from their configs to their folders."""

import json
import shutil

import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.__main__ import main
from seq2seq_jax.evaluation import run
from seq2seq_jax.evaluation.population import train_population
from seq2seq_jax.sweeps import child
from seq2seq_jax.training import groups
from seq2seq_jax.types import InputError
from tests.training.toy import Killed, stop_at

SMALL = {
    "data.name": "reverse",
    "data.task.symbols": 6,
    "data.task.max_length": 5,
    "data.train_size": 60,
    "data.valid_size": 8,
    "data.test_size": 8,
    "data.batch_size": 8,
    "data.buckets": 1,
    "model.embedding": 4,
    "model.encoder.width": 4,
    "model.encoder.cell": "elman",
    "model.decoder.width": 8,
    "model.decoder.cell": "elman",
    "train.epochs": 0.0,
    "train.steps": 8,
    "train.log_every": 2,
    "train.eval_every": 4,
    "train.learning_rate": 0.01,
    "evaluation.max_length_factor": 1.0,
    "evaluation.max_length_extra": 2,
    "evaluation.show": ("1 2",),
}
OWN = [
    {},
    {"seed": 1, "model.attention.temperature": 0.5, "teacher_forcing.ratio": 1.0},
    {"seed": 2, "train.learning_rate": 1e38, "train.schedule": "linear", "train.warmup_steps": 1},
]


def prepared(sweep):
    found = [sweep / f"cell{i}" / "seed0" for i in range(len(OWN))]
    for folder, own in zip(found, OWN, strict=True):
        folder.mkdir(parents=True)
        config = configs.load("configs/default.py", {**SMALL, "teacher_forcing.floor": 1.0, **own})
        configs.save(config, folder / "config.json")
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three runs of which the last one's loss overflows, trained together by the command."""
    found = prepared(tmp_path_factory.mktemp("sweep"))
    assert main(["train", *(f"--workdir={folder}" for folder in found)]) == 1
    return found


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def hypotheses(folder, name):
    text = (folder / "predictions" / f"{name}.jsonl").read_text()
    return [json.loads(line)["hypothesis"] for line in text.splitlines()]


def test_the_folder_is_that_of_a_run_alone(folders, tmp_path):
    member = folders[1]
    alone = run.train(configs.read(member / "config.json"), tmp_path / "alone")
    own = {"claim.json", "log.txt", "population.json"}  # of a sweep, of its commands, of the group

    def names(folder):
        # Orbax names its files, and tensorboardX its own, by chance and by the clock.
        return {
            name for name in files(folder) if "checkpoints" not in name and "events" not in name
        }

    assert names(member) - own == names(alone.workdir)
    one, other = lines(alone.workdir), lines(member)
    assert len(one) == 7
    for a, b in zip(one, other, strict=True):
        assert list(a) == list(b)
        # Rounding, see tests/training/test_population.py; scores of texts are discrete.
        assert b == pytest.approx(a, rel=1e-5, abs=1e-6)
    for name in ("vocabulary/source.json", "vocabulary/target.json", "config.json"):
        assert (member / name).read_bytes() == (alone.workdir / name).read_bytes()
    for name in ("test", "show"):
        assert hypotheses(member, name) == hypotheses(alone.workdir, name) != []
    done = [json.loads((folder / "DONE").read_text()) for folder in (member, alone.workdir)]
    for facts in done:
        del facts["seconds"]
    assert done[0] == done[1]
    assert run.load_run(member).translate(["1 2"])[0].text == alone.translate(["1 2"])[0].text


def test_a_lost_run_says_why_and_the_others_are_done(folders):
    assert [(folder / "DONE").exists() for folder in folders] == [True, True, False]
    assert [(folder / "FAILED").exists() for folder in folders] == [False, False, True]
    assert "is not finite" in (folders[2] / "FAILED").read_text()
    assert "is not finite" in groups.lost(folders[2])


def test_a_member_goes_on_with_its_group_alone(folders, capsys):
    lost = folders[2]
    assert main(["train", f"--workdir={lost}"]) == child.BUSY  # a sweep plans it anew
    assert "began as one of 3 runs in one program" in capsys.readouterr().err
    with pytest.raises(InputError, match="began as one of 3 runs"):
        train_population(folders[1:])


def test_the_same_command_tries_the_lost_run_again_and_no_other(folders):
    before = [(folder / "metrics.jsonl").read_bytes() for folder in folders]
    failed = train_population(folders)
    assert list(failed) == [folders[2]]
    assert [(folder / "metrics.jsonl").read_bytes() for folder in folders] == before


def test_a_deleted_run_begins_anew_once_the_others_have_ended(
    folders, tmp_path, monkeypatch, capfd
):
    own = prepared(tmp_path)
    with monkeypatch.context() as patch:
        stop_at(patch, "after last", 2)
        with pytest.raises(Killed):
            train_population(own)
    config = (own[1] / "config.json").read_bytes()
    shutil.rmtree(own[1])
    own[1].mkdir()
    (own[1] / "config.json").write_bytes(config)  # as the sweep does
    capfd.readouterr()
    failed = train_population(own)
    assert "going on from the checkpoint of step 4" in capfd.readouterr().err
    assert failed[own[1]] == groups.EMPTIED
    assert "its folder was emptied" in (own[1] / "FAILED").read_text()
    assert (own[0] / "metrics.jsonl").read_bytes() == (folders[0] / "metrics.jsonl").read_bytes()
    assert train_population(own) == {own[2]: groups.lost(own[2])}
    assert (own[1] / "metrics.jsonl").read_bytes() == (folders[1] / "metrics.jsonl").read_bytes()
