import errno
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from seq2seq_jax import __main__ as program
from seq2seq_jax import config as configs
from seq2seq_jax.commands import report, train, translate
from seq2seq_jax.decoding.translate import Translation
from seq2seq_jax.sweeps import population
from seq2seq_jax.types import EOS, InputError


def run(capsys, *arguments):
    status = program.main(arguments)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_the_verbs(capsys, arguments):
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    for verb in program.COMMANDS:
        assert f"\n  {verb} " in out


def test_unknown_verb(capsys):
    status, _, err = run(capsys, "trian", "--workdir=x")
    assert status == 2
    assert "no command trian; did you mean train?" in err


@pytest.mark.parametrize("verb", program.COMMANDS)
def test_every_verb_explains_itself(capsys, verb):
    status, out, _ = run(capsys, verb, "--workdir=x", "--help")
    assert status == 0
    assert f"./launch.sh {verb} " in out
    assert ("  --workdir=..." in out) == (verb != "benchmark")
    assert "flagfile" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "--workdir=... is missing"),
        (["train", "--wrkdir=x"], "no flag --wrkdir; did you mean --workdir?"),
        (["train", "--workdir=x", "--seed=3"], "no flag --seed; did you mean --config.seed?"),
        (["train", "--workdir=x", "extra"], "unexpected argument extra"),
        (["train", "--workdir=x", "--config.seed=1"], "--config.seed=1 needs --config=FILE.py"),
        (["train", "--workdir=x", "--platform=cuda"], "<cpu|gpu|tpu>"),
        (["sweep", "--workdir=x"], "--config=... is missing"),
        (["sweep", "--workdir=x", "--config=y", "--workers=0"], "--workers=0"),
        (["sweep", "--workdir=x", "--config=y", "--slurm=60"], "expected NAME=VALUE"),
        (["evaluate", "--workdir=x", "--mode=gredy"], "<forced|free|greedy|beam>"),
        (["evaluate", "--workdir=x", "--workdir=y", "--mode=free"], "greedy and beam only"),
        (["evaluate", "--workdir=x", "--save=s/e/seed0"], "give --workdir several times"),
        (
            ["evaluate", "--workdir=x", "--workdir=y", "--save=s/e/seed0", "--split=valid"],
            "for the test of an ensemble",
        ),
        (["translate", "--workdir=x", "--top_p=0.9", "a"], "--top_p needs --sample"),
        (["translate", "--workdir=x", "--sample", "--beam=5", "a"], "--sample and --beam are two"),
        (["evaluate", "--workdir=x", "--min_length=5"], "--min_length is for beam search"),
        (["evaluate", "--workdir=x", "--mode=greedy", "--beam=5"], "--beam is for --mode=beam"),
        (["translate", "--workdir=x", "--nounknown=true"], "does not take an argument"),
        (["translate", "--workdir=x", "--dictionary=a", "a"], "needs --replace_unknown"),
        (["translate", "--workdir=x", "--attention=a.png", "a", "b"], "one sentence"),
        (["translate", "--workdir=x", "--attention=a.png"], "one sentence"),
        (["translate", "--workdir=x", "--attention=a.jpg", "a"], "a name in .png, .svg, .pdf"),
        (["report", "--workdir=x", "--format=pdf"], "not one of md, csv, latex, html"),
        (["report", "--workdir=x", "--table=y", "--published=z"], "leave --published out"),
        (["benchmark", "--workload=large"], "<luong|small|g2p|transformer>"),
        (["benchmark", "--ratio=high"], "teacher_forcing.ratio"),
        (["benchmark", "--torch-avx512"], "--torch-avx512 needs --vs=torch"),
        (["benchmark", "--population=4", "--vs=torch"], "leave out --vs"),
        (["benchmark", "--population=1"], "--population"),
        (["train", "--workdir=", "--config=configs/default.py"], "--workdir=... is missing"),
        (["translate", "--workdir=x", "-5 degrees"], "a text that begins with - stands behind --"),
        (["translate", "--workdir=x", f"--workdir={__file__}", "a"], "test_main.py is a file"),
        (["report", f"--workdir={__file__}"], "test_main.py is a file, and has to be a folder"),
        (["benchmark", "--json=/nowhere/a.json"], "--json=/nowhere/a.json: name a file, in a"),
        (["benchmark", "--json=/"], "--json=/: name a file, in a"),
    ],
)
def test_wrong_usage(capsys, arguments, words):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert f"({arguments[0]} --help explains)" in err


def test_bad_input_is_a_message_without_a_traceback(tmp_path, capsys):
    status, _, err = run(capsys, "train", f"--workdir={tmp_path / 'none'}")
    assert status == 1
    assert err.startswith("error: ")
    assert "holds no config.json" in err
    status, _, err = run(
        capsys, "sweep", "--config=configs/default.py", f"--workdir={tmp_path}",
        "--config.model.atention.score=dot", "--config.sed=1",
    )  # fmt: skip
    assert status == 1
    assert "--config.model.atention.score: no such key; did you mean model.attention.score" in err
    assert "--config.sed: no such key; did you mean seed?" in err
    # Refused before the machine is looked at and JAX imported.
    status, _, err = run(capsys, "benchmark", "--score=concta")
    assert status == 1
    assert "did you mean concat" in err


def test_a_key_that_every_cell_sets_is_said_to_change_nothing(tmp_path, capsys):
    flags = ["--config.model.attention.score=dot", "--config.train.steps=100", "--dry_run"]
    status, _, err = run(
        capsys, "sweep", "--config=configs/quickstart.py", f"--workdir={tmp_path}", *flags
    )
    assert status == 0
    assert "--config.model.attention.score changes nothing" in err
    assert "train.steps" not in err


def test_files_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    status, _, err = run(
        capsys, "sweep", "--config=configs/default.py", f"--workdir={tmp_path / 'file' / 'x'}"
    )
    assert status == 1
    assert err.startswith(f"error: {tmp_path / 'file'}")
    assert err.endswith("Not a directory\n")


def test_a_dry_run_refuses_what_the_sweep_would(tmp_path, capsys):
    sweep = ["sweep", "--config=configs/quickstart.py", f"--workdir={tmp_path}", "--dry_run"]
    assert run(capsys, *sweep)[0] == 0
    folder = tmp_path / "score=dot" / "seed0"
    (folder / "checkpoints" / "last" / "50").mkdir(parents=True)
    configs.save(configs.defaults(), folder / "config.json")
    status, out, err = run(capsys, *sweep)
    assert status == 1
    assert str(folder) in out
    assert "score=dot/seed0: model.attention.score was 'general' and is now 'dot'" in err


def test_a_sweep_that_is_told_to_end_while_it_measures_ends(tmp_path, monkeypatch):
    """By an exception, as after Ctrl-C, which ends the process that measures."""

    def measure(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(population, "measure_in_child", measure)
    arguments = ["--config=configs/quickstart.py", f"--workdir={tmp_path}", "--population=auto"]

    def unheeded(number, frame):
        raise AssertionError("the sweep does not heed it")

    before = signal.signal(signal.SIGTERM, unheeded)
    try:
        assert program.main(["sweep", *arguments]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InputError("bad line"), 1, "error: bad line"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "left on device; free some, and"),
        (RuntimeError("INTERNAL: Out of memory allocating 9 bytes.\nmore"), 1, "data.batch_size"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_status_of_a_command_that_raises(monkeypatch, capsys, error, status, words):
    def raise_it(arguments):
        raise error

    monkeypatch.setattr(train, "main", raise_it)
    found, _, err = run(capsys, "train")
    assert found == status
    assert words in err and "more" not in err


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("a bug")])
def test_a_fault_of_the_program_keeps_its_traceback(error, monkeypatch):
    def fail(arguments):
        raise error

    monkeypatch.setattr(report, "main", fail)
    with pytest.raises(type(error)):
        program.main(["report"])


def test_reader_that_ends_early_is_no_error(tmp_path):
    code = (
        "import sys\nfrom seq2seq_jax import __main__ as m\n"
        "from seq2seq_jax.commands import report\n"
        "def main(arguments):\n"
        "    for _ in range(100_000): print('x' * 100, flush=True)\n"
        "report.main = main; sys.exit(m.main(['report']))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.read(child.stdout.fileno(), 10)
    child.stdout.close()
    assert (child.wait(), child.stderr.read()) == (0, b"")
    child.stderr.close()


def test_closed_streams(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    status, _, err = run(capsys, "translate", "--workdir=x")
    assert (status, "standard input is closed: give a text" in err) == (2, True)
    monkeypatch.setattr(sys, "stdout", None)
    assert program.main(["--help"]) == 0 and sys.stdout is not None


def test_translations_are_utf_8_in_every_locale(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert program.main(["translate", "--workdir=none", "je suis"]) == 1  # no such run
    assert sys.stdout.encoding == "utf-8"


def found(weights, tokens, source_tokens):
    ids = [EOS if token == "</s>" else 4 for token in tokens]
    return Translation("", 0.0, 0.0, tokens, source_tokens, np.array(weights, float), ids)


@pytest.mark.parametrize(
    ("translation", "links"),
    [
        # No link from a word that looks at the end token, nor from the end token itself.
        (found([[1, 7, 2], [3, 1, 6], [0, 0, 1]], ["b", "a", "</s>"], ["x", "y", "</s>"]),
         "1-0"),
        (found([[0.9, 0.1]], ["cut"], ["x", "</s>"]), "0-0"),
        (found(np.zeros((2, 2)), ["a", "</s>"], ["x", "</s>"]), ""),
        (found(np.zeros((0, 1)), [], ["</s>"]), ""),
        (found([[1, 0], [1, 0]], ["say", "</s>"], ["x", "</s>"])._replace(ids=[4, 5]), "0-0 0-1"),
    ],
    ids=["two words", "cut off", "no attention", "empty", "a word written as the end"],
)  # fmt: skip
def test_links_in_pharaoh_format(translation, links):
    assert translate.pharaoh(translation) == links
