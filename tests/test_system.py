"""The whole system on a task that only works when every part does: reverse a string of symbols."""

import dataclasses
import io
import json
import os
import pty
import select
import shutil
import subprocess
import sys

import numpy as np
import pytest

import seq2seq_jax
from seq2seq_jax import config as configs
from seq2seq_jax.__main__ import main
from seq2seq_jax.commands import translate
from seq2seq_jax.decoding.strategies import BeamSearch, Sample
from seq2seq_jax.decoding.translate import Translation
from seq2seq_jax.evaluation.ensemble import Ensemble
from seq2seq_jax.reports.results import read_results
from seq2seq_jax.reports.tables import make_table
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
    facts = json.loads((run.workdir / "predictions" / "test.json").read_text())
    assert facts["metrics"] == again
    assert {"perplexity", "perplexity_free", "aer", "ter", "bleu"} <= set(facts["intervals"])
    for name, (low, high) in facts["intervals"].items():
        assert low <= again[name] <= high, name


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
    low, high = scores["intervals"]["exact_match"]
    assert low <= scores["exact_match"] <= high < low + 0.2
    assert sum(line["sentences"] for line in scores["by_length"]) == 200
    assert main(["report", workdir]) == 0
    assert "BLEU" in capsys.readouterr().out
    assert (run.workdir / "report.html").exists()


def test_searches_of_all_kinds_from_python(run):
    texts = ["1 2 3", "", "7 6 5 4 3 2"]
    greedy = run.translate(texts)
    beams = run.translations(texts, BeamSearch(3, n_best=3))
    assert [len(found) for found in beams] == [3, 1, 3]
    for found, alone in zip(beams, greedy, strict=True):
        assert found[0].log_probability >= alone.log_probability - 1e-5
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert len({one.text for one in found}) == len(found)
    assert [found[0].text for found in beams] == ["3 2 1", "", "2 3 4 5 6 7"]
    draws = run.translations(texts, Sample(draws=2, temperature=3.0, seed=1))
    assert [len(found) for found in draws] == [2, 2, 2]
    # What is drawn depends on the place in the input alone, not on the neighbours.
    assert (
        run.translations(texts[2:], Sample(2, 3.0, seed=1), first=2)[0][1].text == draws[2][1].text
    )
    # A line's first draw is no other's, however many draws a line has.
    same = run.translations(["1 2 3 4 5 6"] * 2, Sample(2, 9.0, seed=1))
    assert len({one.text for line in same for one in line}) == 4
    assert run.translate(["1 2 3 4 5 6"], Sample(1, 9.0, seed=1))[0].text == same[0][0].text
    assert run.translate(texts, Sample(top_k=1))[0].text == "3 2 1"


@pytest.fixture
def pair(run, tmp_path):
    """The run twice, as cells of a sweep."""
    return [shutil.copytree(run.workdir, tmp_path / cell / "seed0") for cell in "ab"]


def test_an_ensemble_of_equal_runs_is_the_run_also_in_the_report(run, pair, tmp_path, capsys):
    final = run.metrics.iloc[-1]
    saved = tmp_path / "both" / "seed0"
    members = [f"--workdir={folder}" for folder in pair]
    assert main(["evaluate", "--mode=greedy", f"--save={saved}", *members]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert {"exact_match", "bleu", "ter", "token_error_rate", "intervals"} <= set(scores)
    (line,) = (saved / "metrics.jsonl").read_text().splitlines()
    logged = json.loads(line)
    assert logged.pop("step") == 0
    assert logged == {name: final[name] for name in logged}
    numbers = [name for name, value in scores.items() if isinstance(value, float)]
    assert set(logged) == {f"test/{name}" for name in numbers}
    for name in ("test", "show"):
        one, other = (
            [json.loads(text) for text in (folder / f"{name}.jsonl").read_text().splitlines()]
            for folder in (pair[0] / "predictions", saved / "predictions")
        )
        assert len(one) == len(other) > 0
        for ours, theirs in zip(one, other, strict=True):
            assert ours["hypothesis"] == theirs["hypothesis"]
            # log 2 comes and goes at each of ten tokens, in float32.
            assert ours["score"] == pytest.approx(theirs["score"], rel=1e-4, abs=1e-5)
    table = make_table(read_results(tmp_path), [])
    alone, _, both = (
        {name: value.mean for name, value in row.values.items()} for row in table.rows
    )
    assert [row.cell for row in table.rows] == ["a", "b", "both"]
    assert both["exact_match"] == alone["exact_match"]
    assert both["parameters"] == 2 * alone["parameters"] == 2 * run.parameters
    assert both["seconds"] == pytest.approx(2 * alone["seconds"], abs=0.05)  # written to a tenth
    assert both["members"] == 2
    (note,) = [note for note in table.notes if "nsemble" in note]
    assert "the probabilities of a/seed0, b/seed0, averaged" in note


def test_an_ensemble_that_makes_no_row_is_refused(pair, tmp_path):
    """Before anything is translated or written."""
    place, taken = tmp_path / "more" / "seed0", tmp_path / "taken" / "seed0"
    one, other = map(seq2seq_jax.load_run, pair)
    both = Ensemble([one, other])
    with pytest.raises(InputError, match=r"none/config\.json: no such file; is this the folder"):
        seq2seq_jax.load_ensemble([pair[0], tmp_path / "none"])
    with pytest.raises(InputError, match="a/seed0 stands twice in the ensemble"):
        Ensemble([one, one]).save(place)
    with pytest.raises(InputError, match="expected SWEEP/NAME/seed<k>"):
        both.save(place.parent)
    with pytest.raises(InputError, match=r"b is a cell of trained runs \(seed0\); give the ens"):
        both.save(tmp_path / "b" / "seed7")
    taken.mkdir(parents=True)
    made_of = {"members": ["a/seed0", "c/seed0"], "evaluation": {"beam": 3}}
    (taken / "ensemble.json").write_text(json.dumps(made_of))
    with pytest.raises(InputError, match=r"taken/seed0 holds another ensemble; save to") as caught:
        both.save(taken)
    changed = "members was ['a/seed0', 'c/seed0'] and is ['a/seed0', 'b/seed0']"
    assert changed in str(caught.value)
    assert "evaluation.beam was 3 and is 1" in str(caught.value)
    other.config.data.update({"test_size": 100, "batch_size": 7})  # the latter is how they are fed
    with pytest.raises(InputError, match=r"than .*a/seed0: data\.test_size is 100 and not 200; "):
        both.save(place)
    (pair[1] / "DONE").rename(pair[1] / "NOT")
    with pytest.raises(InputError, match="b/seed0 has not ended: it has no DONE; train it"):
        both.save(place)
    (pair[1] / "NOT").rename(pair[1] / "DONE")
    other.target = dataclasses.replace(other.target, lowercase=True)
    with pytest.raises(InputError, match=r"b/seed0 has another target vocabulary than .*a/"):
        Ensemble([one, other])
    assert not place.parent.exists()


def test_an_ensemble_saved_twice_has_the_scores_of_both_modes(pair, tmp_path, monkeypatch):
    """And the same command changes nothing."""
    both = seq2seq_jax.load_ensemble(pair)
    both.config.data.update({"train_size": 50, "test_size": 8})
    for run in both.runs:
        run.config.data.update(both.config.data)
        (run.workdir / "vocabulary" / "pairs.json").unlink()  # its pairs are others now
    folder = tmp_path / "twice" / "seed0"
    one = Translation("3 2 1", -1.0, -1.0, [*"321"], [*"123"], np.ones((3, 3)) / 3, [6, 5, 4])
    monkeypatch.setattr(
        both._translator, "search", lambda params, sources, strategy=None: [[one] for _ in sources]
    )
    both.save(folder)
    greedy = json.loads((folder / "metrics.jsonl").read_text())
    both.save(folder, ["beam"])
    files = {path.name: path.read_text() for path in folder.glob("*.js*")}
    found = json.loads(files["metrics.jsonl"])
    assert found == greedy | {f"{name}_beam": greedy[name] for name in greedy if name != "step"}
    assert {path.name for path in (folder / "predictions").iterdir()} == {
        *("show.jsonl", "test.json", "test.jsonl", "test.beam.jsonl")
    }
    both.save(folder, ["beam"])
    assert {path.name: path.read_text() for path in folder.glob("*.js*")} == files


def test_averaged_checkpoints(run):
    """Of one checkpoint it is that one; the run kept two."""
    averaged = seq2seq_jax.load_run(run.workdir, average=2)
    assert averaged.step == 200
    assert averaged.translate(["1 2 3"])[0].text == "3 2 1"
    with pytest.raises(InputError, match=r"train\.keep_checkpoints=5"):
        seq2seq_jax.load_run(run.workdir, average=5)


def test_the_commands_search(run, tmp_path, capsys, monkeypatch):
    workdir = f"--workdir={run.workdir}"
    links = tmp_path / "links.txt"
    source = io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf1 2 3\n\n4 \xe9 5\r\n1 1 1 2 2"))
    monkeypatch.setattr(sys, "stdin", source)
    flags = ["--beam=3", "--n_best=2", "--longest=3", f"--pharaoh={links}", "--replace_unknown"]
    assert main(["translate", workdir, workdir, *flags]) == 0
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["source"] for line in lines] == ["1 2 3", "", "4 \ufffd 5", "1 1 1 2 2"]
    assert [len(line["translations"]) for line in lines] == [2, 1, 2, 2]
    assert lines[0]["translations"][0]["text"] == "3 2 1"
    assert lines[3]["translations"][0]["text"] == "1 1 1"
    assert links.read_text().splitlines()[:2] == ["2-0 1-1 0-2", ""]
    assert "1 lines were cut after 3 tokens (--longest): 4" in printed.err
    assert "1 lines are not UTF-8: 3; convert them" in printed.err
    folder = run.workdir / "predictions"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["evaluate", workdir, "--beam=3"]) == 0
    printed = capsys.readouterr()
    scores = json.loads(printed.out)
    assert scores["exact_match_beam"] > 0.9 and "perplexity" in scores
    assert sum(line["sentences"] for line in scores["by_length_beam"]) == 200
    # Reports read the run's own test, which another search leaves as it is; a mode is added to it.
    assert "nothing was written" in printed.err
    assert main(["evaluate", workdir, "--mode=greedy", "--max_length_factor=0.5"]) == 0
    assert main(["evaluate", workdir, "--mode=greedy", "--average=2"]) == 0
    assert kept == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["evaluate", workdir, "--mode=greedy", "--batch_size=7"]) == 0
    files = (folder / "test.jsonl").read_bytes(), kept["test.jsonl"]
    for line, other in zip(*(map(json.loads, file.splitlines()) for file in files), strict=True):
        assert line["hypothesis"] == other["hypothesis"]
        assert line["score"] == pytest.approx(other["score"], abs=1e-5)  # by rounding
    capsys.readouterr()
    assert main(["translate", workdir, "--nounknown", "1 2"]) == 0
    assert capsys.readouterr().out == "2 1\n"
    assert main(["translate", workdir, "--n_best=1", "4 \udce9 5"]) == 0  # not UTF-8
    assert json.loads(capsys.readouterr().out)["source"] == "4 \ufffd 5"
    assert main(["evaluate", workdir, "--mode=beam"]) == 1
    assert "is greedy search: give --beam=5" in capsys.readouterr().err
    assert main(["translate", workdir, "--beam=0", "1"]) == 1
    assert "evaluation.beam" in capsys.readouterr().err
    assert main(["translate", workdir, "--block_ngrams=2", "1"]) == 2
    assert "--block_ngrams is for beam search" in capsys.readouterr().err


def test_pairs_of_other_files_are_scored_and_nothing_is_written(run, tmp_path, capsys):
    kept = {path.name: path.read_bytes() for path in (run.workdir / "predictions").iterdir()}
    for name, text in {"s": "1 2 3\n4 5\n", "t": "3 2 1\n4 5\n", "l": "0-2 1-1 2p0\n\n"}.items():
        (tmp_path / name).write_text(text)
    names = [str(tmp_path / name) for name in "stl"]
    command = ["evaluate", f"--workdir={run.workdir}"]
    assert main([*command, f"--files={' '.join(names)}"]) == 0
    printed = capsys.readouterr()
    scores = json.loads(printed.out)
    assert scores["exact_match"] == 0.5  # the second pair is not turned round
    assert scores["aer"] == pytest.approx(1 - (2 + 3) / (5 + 2))  # its two links are wrong ones
    assert "nothing was written" in printed.err
    assert main([*command, command[1], f"--files={' '.join(names[:2])}"]) == 0
    assert json.loads(capsys.readouterr().out)["exact_match"] == 0.5  # an ensemble
    assert kept == {
        path.name: path.read_bytes() for path in (run.workdir / "predictions").iterdir()
    }
    (tmp_path / "s").write_text("1\n\n")
    assert main([*command, f"--files={' '.join(names[:2])}"]) == 1
    assert "--files: 1 pairs with an empty side left out" in capsys.readouterr().err
    assert main([*command, f"--files={tmp_path / 'no'} {names[0]}"]) == 1
    assert "no does not exist" in capsys.readouterr().err
    assert main([*command, "--files=a b", "--split=valid"]) == 2


def test_words_of_the_dictionary_are_those_of_the_source(run, tmp_path, capsys):
    """Brought to the form of the vocabulary, and not looked for in data.dir."""
    missing = [f"--workdir={run.workdir}", "--replace_unknown", f"--dictionary={tmp_path / 'no'}"]
    assert main(["translate", *missing, "1"]) == 1
    assert "check --dictionary" in capsys.readouterr().err
    words = tmp_path / "words.tsv"
    words.write_text("e\u0301  x\tnine\n", encoding="utf-8")
    values = translate.define()
    values(["", f"--workdir={run.workdir}", "--replace_unknown", f"--dictionary={words}"])
    (word,) = translate.Translate(values).dictionary
    assert word == run.source.normalize_text("e\u0301  x")


def test_a_prompt_is_not_part_of_the_translations(run, tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "seq2seq_jax", "translate", f"--workdir={run.workdir}"]
    with (
        (tmp_path / "out").open("wb") as out,
        subprocess.Popen(command, stdin=theirs, stdout=out, stderr=subprocess.PIPE) as child,
    ):
        os.close(theirs)
        os.write(ours, b"1 2 3\n\x04")
        assert child.wait(60) == 0
        os.close(ours)
    assert (tmp_path / "out").read_text() == "3 2 1\n"


def test_a_terminal_has_a_prompt(run):
    """A line is answered before the next one is read."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "seq2seq_jax", "translate", f"--workdir={run.workdir}"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE) as child:
        os.close(theirs)
        shown = b""
        for typed, answer in ((b"1 2 3\n", b"3 2 1"), (b"\x04", b"")):
            while not shown.rstrip().endswith(b">"):
                assert select.select([ours], [], [], 60)[0], shown
                shown += os.read(ours, 1000)
            assert answer in shown or typed != b"\x04"
            os.write(ours, typed)
            shown = shown if typed == b"\x04" else b""
        assert child.wait(60) == 0
        os.close(ours)


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
