"""A trained run that is timed: it ends its translations itself, here and in PyTorch."""

import json
import os

import pytest

import seq2seq_jax
from seq2seq_jax import config as configs
from seq2seq_jax.__main__ import main
from seq2seq_jax.benchmarking import benchmark, machine, peers, torch_arms, torch_input, trained
from seq2seq_jax.types import InputError
from tests.benchmarking.fake_peer import arm

# An LSTM that the PyTorch program knows. It does not learn to copy in 30 updates, but when to end.
COPIES = {
    "data.name": "copy",
    "data.task.symbols": 4,
    "data.task.min_length": 1,
    "data.task.max_length": 4,
    "data.train_size": 200,
    "data.valid_size": 10,
    "data.test_size": 12,
    "data.batch_size": 20,
    "data.buckets": 1,
    "model.embedding": 4,
    "model.encoder.cell": "lstm",
    "model.encoder.width": 4,
    "model.decoder.cell": "lstm",
    "model.decoder.width": 8,
    "model.dropout.output": 0.1,
    "train.epochs": 0.0,
    "train.steps": 30,
    "train.log_every": 15,
    "train.eval_every": 15,
    "train.learning_rate": 0.05,
    "evaluation.modes": ("forced",),
    "evaluation.show": (),
    "evaluation.batch_size": 8,
    "evaluation.max_length_factor": 0.0,
    "evaluation.max_length_extra": 20,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    config = configs.load("configs/default.py", COPIES)
    return seq2seq_jax.train(config, tmp_path_factory.mktemp("trained") / "run").workdir


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(machine, "SPIN", 0.001)
    monkeypatch.setattr(peers, "SETTLE", 0.0)
    monkeypatch.setattr(torch_input, "environment", lambda: {"cores": 1})


def timed(folder, arms, **evaluation):
    run = seq2seq_jax.load_run(folder, evaluation=evaluation)
    quiet = machine.Quiet(0.0, 1.0)
    return run, trained.benchmark_run(run, quiet, windows=2, sentences=10, arms=arms)


def test_the_translations_are_those_of_the_run(folder, monkeypatch):
    written = []
    monkeypatch.setattr(trained, "write_input", lambda *given, **ends: written.append(ends))
    run, result = timed(folder, [arm("mine")], beam=3)
    sources = trained.load_again(run.config, folder).encoded["test"].source[:10]
    tokens = [len(best.tokens) for best, *_ in run.search(sources)]
    assert max(tokens) < 20  # each ends by itself
    assert result["searches"]["greedy"]["mean_tokens"] == pytest.approx(sum(tokens) / 10)
    assert result["searches"]["beam"]["sentences"] == 10
    assert len(result["searches"]["beam"]["sentences_per_second"]["windows"]) == 2
    assert written == [{"ends": True}]
    text = benchmark.table(trained.rows(json.loads(json.dumps(result))))
    assert text.startswith("run ")
    for words in ("step 30", "greedy sentences a second", "ours / theirs, beam", "quiet (load"):
        assert words in text


def test_pytorch_translates_alike(folder, tmp_path):
    try:
        python = torch_arms.find_python(os.environ.get("SEQ2SEQ_JAX_TORCH_PYTHON"))
    except InputError as error:
        pytest.skip(str(error))
    _, result = timed(folder, torch_arms.make_arms(python, False, tmp_path), beam=2)
    (theirs,) = result["against"]
    for name, ours in result["searches"].items():
        assert theirs["searches"][name]["mean_tokens"] == ours["mean_tokens"]


LSTM_BY_CUDNN = {"model.encoder.cell": "lstm", "model.encoder.kernel": "cudnn"}


def test_runs_that_it_does_not_know():
    known = configs.load("configs/default.py", COPIES)
    torch_arms.refuse_run(known)
    torch_arms.refuse_run(configs.load("configs/default.py", COPIES | LSTM_BY_CUDNN))
    for key, value in {
        "model.decoder.cell": "gru",
        "evaluation.length_penalty": "average",
        "model.attention.normalizer": "sparsemax",
    }.items():
        other = configs.load("configs/default.py", COPIES | {key: value})
        with pytest.raises(InputError, match=f"has no {key}={value}"):
            torch_arms.refuse_run(other)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workload=luong"], "leave out --workload"),
        (["--score=concat"], "model.attention.score is the run's own"),
    ],
)
def test_what_is_the_runs_own_is_refused(flags, words, capsys):
    assert main(["benchmark", "--run=nowhere", *flags]) == 2
    assert words in capsys.readouterr().err


def test_the_command(folder, tmp_path, capsys):
    path = tmp_path / "found.json"
    count = ["--beam=2", "--sentences=4", "--windows=1"]
    assert main(["benchmark", f"--run={folder}", *count, f"--json={path}"]) == 0
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["searches"].keys() == {"greedy", "beam"}
    assert found["searches"]["beam"]["sentences"] == 4
    assert "beam sentences a second" in capsys.readouterr().out
