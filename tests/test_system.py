"""The whole system on a task that only works when every part does: reverse a string of symbols."""

import json

import pytest

import seq2seq_jax
from seq2seq_jax import config as configs
from seq2seq_jax.__main__ import main
from seq2seq_jax.types import InputError

LEARNS = {
    "data.name": "reverse",
    "data.task.symbols": 8,
    "data.task.min_length": 3,
    "data.task.max_length": 8,
    "data.train_size": 3000,
    "data.valid_size": 100,
    "data.test_size": 200,
    "data.batch_size": 64,
    "data.buckets": 1,
    "model.embedding": 32,
    "model.encoder.width": 32,
    "model.decoder.width": 64,
    "train.epochs": 0.0,
    "train.steps": 200,
    "train.log_every": 25,
    "train.eval_every": 25,
    "train.learning_rate": 5e-3,
    "train.schedule": "linear",
    "evaluation.max_examples": 50,
    "evaluation.batch_size": 16,  # several batches
    "evaluation.show": ("1 2 3",),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = configs.load("configs/default.py", LEARNS)
    return seq2seq_jax.train(config, tmp_path_factory.mktemp("system") / "run")


def test_attention_learns_to_reverse(run):
    """Far above what a decoder without attention, or with a wrong mask, reaches in 200 updates."""
    final = run.metrics.iloc[-1]
    assert final["test/exact_match"] > 0.9
    assert final["test/aer"] < 0.1  # the gold links are exact here
    first, *_, last = run.metrics["valid/aer"].dropna()
    assert last < first / 2


def test_a_run_translates_in_order_whatever_the_lengths(run):
    texts = ["1 2 3", "", "7 6 5 4 3 2", "3 3 1 5"]
    found = run.translate(texts)
    assert [f.text for f in found] == ["3 2 1", "", "2 3 4 5 6 7", "5 1 3 3"]
    assert found[0].tokens == ["3", "2", "1", "</s>"]
    assert found[0].source_tokens == ["1", "2", "3", "</s>"]
    assert found[0].alignment.shape == (4, 4)
    assert found[0].alignment.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert found[0].alignment[:3].argmax(axis=1).tolist() == [2, 1, 0]
    # Alone or in company, the score is the same: neither padding nor neighbours matter.
    alone = run.translate(texts[2:3])[0]
    assert alone.score == pytest.approx(found[2].score, abs=1e-5)
    assert run.translate([]) == []


def test_evaluating_again_gives_the_numbers_of_the_end_of_training(run):
    final = run.metrics.iloc[-1]
    again = run.evaluate("test")
    assert {name for name in again} >= {"perplexity", "perplexity_free", "exact_match", "bleu"}
    for name, value in again.items():
        assert value == final[f"test/{name}"], name


def test_the_folder_tells_everything(run):
    lines = (run.workdir / "predictions" / "test.jsonl").read_text().splitlines()
    predictions = [json.loads(line) for line in lines]
    assert len(predictions) == 200
    right = [p["hypothesis"] == p["reference"] for p in predictions]
    assert sum(right) / len(right) == run.metrics.iloc[-1]["test/exact_match"]
    show = json.loads((run.workdir / "predictions" / "show.jsonl").read_text())
    assert (show["source"], show["hypothesis"]) == ("1 2 3", "3 2 1")
    done = json.loads((run.workdir / "DONE").read_text())
    assert done["parameters"] == run.parameters and done["step"] == 200


def test_training_again_does_nothing_and_another_config_is_refused(run):
    before = (run.workdir / "metrics.jsonl").read_bytes()
    assert seq2seq_jax.train(run.config, run.workdir).step == run.step
    assert (run.workdir / "metrics.jsonl").read_bytes() == before
    other = configs.load("configs/default.py", {**LEARNS, "train.steps": 225})
    with pytest.raises(InputError, match=r"train\.steps was 200 and is now 225"):
        seq2seq_jax.train(other, run.workdir)


def test_the_commands_do_the_same(run, capsys):
    workdir = f"--workdir={run.workdir}"
    assert main(["translate", workdir, "1 2 3", "", "4 nine 5"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:2] == ["3 2 1", ""]
    assert len(printed.out.splitlines()) == 3
    assert "1 unknown tokens were read as <unk>: nine" in printed.err
    picture = run.workdir / "alignment.png"
    assert main(["translate", workdir, f"--attention={picture}", "1 2 3"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(["evaluate", workdir, "--mode=greedy"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["exact_match"] == run.metrics.iloc[-1]["test/exact_match"]
    assert main(["report", workdir]) == 0
    assert "BLEU" in capsys.readouterr().out
    assert (run.workdir / "report.html").exists()


def test_the_tutorial_gets_the_same_from_the_parts_as_from_the_whole(run, capsys):
    """Its code, on this run: the decoder taken step by step writes what `translate` wrote."""
    text = (configs.PROJECT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    lines = [line[4:] for line in text.split("## 4")[0].splitlines() if line.startswith("    ")]
    code = "\n".join(lines)
    for shown, here in (
        ("runs/quickstart/score=dot/seed0", str(run.workdir)),
        ("je suis étudiant", "1 2 3"),
    ):
        assert shown in code
        code = code.replace(shown, here)
    exec(code, {})
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["3", "2", "1", "</s>"] * 2
