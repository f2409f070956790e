"""The files a run writes, cut back to a checkpoint, and what it says while it trains."""

import json

import pytest

from seq2seq_jax.training import logs as logs_module
from seq2seq_jax.training.logs import JsonLines, Lines, Logs, make_progress


def write(path, *steps):
    lines = JsonLines(path, 0)
    for step in steps:
        lines.write({"step": step, "train/loss": step / 3})
    lines.close()
    return path.read_text()


def reopen(path, step):
    JsonLines(path, step).close()
    return path.read_text()


def test_floats_survive_and_nothing_else_is_in_a_line(tmp_path):
    text = write(tmp_path / "metrics.jsonl", 1)
    assert text == '{"step": 1, "train/loss": 0.3333333333333333}\n'


def test_lines_after_the_checkpoint_are_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = write(path, 5, 10, 10, 15, 20)
    assert reopen(path, 10) == "".join(whole.splitlines(keepends=True)[:3])


def test_a_new_run_starts_with_an_empty_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, 5, 10)
    assert reopen(path, 0) == ""


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_cut_off(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    whole = write(path, 5, 10)
    path.write_text(whole[:-cut])
    assert reopen(path, 10) == whole.splitlines(keepends=True)[0]


def test_bytes_that_are_no_text_are_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = write(path, 5, 10)
    path.write_bytes(whole.encode() + b"\x00\xff\x00\n")
    assert reopen(path, 10) == whole


def test_the_final_evaluation_is_written_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = write(path, 5, 10, 15)
    with path.open("a") as file:
        file.write(json.dumps({"step": 10, "test/bleu": 1.0}) + "\n")
    assert reopen(path, 15) == whole


def test_a_resumed_file_goes_on_where_the_checkpoint_was(tmp_path):
    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    whole = write(path, 5, 10, 15, 20)
    write(other, 5, 10, 15)
    lines = JsonLines(other, 10)
    for step in (15, 20):
        lines.write({"step": step, "train/loss": step / 3})
    lines.close()
    assert other.read_text() == whole


def test_event_files_hold_every_metric(tmp_path):
    run = Logs(tmp_path, total_steps=20, resume_step=0)
    run.metrics(10, {"train/loss": 2.5})
    run.metrics(20, {"train/loss": 1.5, "valid/bleu": 12.0})
    run.timing(20, {"seconds": 1.0})
    run.close()
    assert (tmp_path / "timing.jsonl").read_text() == '{"step": 20, "seconds": 1.0}\n'
    assert events(tmp_path) == [
        (10, "train/loss", 2.5),
        (20, "train/loss", 1.5),
        (20, "valid/bleu", 12.0),
    ]


def events(folder):
    """(step, tag, value) of all event files, oldest first, read without TensorFlow."""
    import struct

    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        data, position = path.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack_from("<Q", data, position)
            event = Event.FromString(data[position + 12 : position + 12 + length])
            position += 12 + length + 4
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
    return found


def test_plain_lines_keep_their_distance(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(logs_module.time, "monotonic", lambda: now[0])
    lines = Lines(total_steps=100, start_step=20)
    for step, seconds, values in [
        (30, 1.0, {"train/loss": 3.0}),  # the first is shown
        (40, 2.0, {"train/loss": 2.0}),  # too soon
        (50, 3.0, {"valid/loss": 1.0, "valid/bleu": 7.0}),  # evaluations always are
        (60, 8.0, {"train/loss": 0.5}),
    ]:
        now[0] = seconds
        lines.advance(step)
        lines.show(values)
    assert capsys.readouterr().err.splitlines() == [
        "step 30/100  10.0 steps/s, 0:07 left  train/loss 3",
        "step 50/100  10.0 steps/s, 0:05 left  valid/loss 1  valid/bleu 7",
        "step 60/100  5.0 steps/s, 0:08 left  train/loss 0.5",
    ]


def test_long_times_have_hours(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(logs_module.time, "monotonic", lambda: now[0])
    lines = Lines(total_steps=10_000, start_step=0)
    now[0] = 10.0
    lines.advance(10)
    lines.show({"train/loss": 1.0})
    assert "1.0 steps/s, 2:46:30 left" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    bar = make_progress(total_steps=100, start_step=40)
    bar.advance(70)
    bar.show({"train/loss": 1.25})
    bar.say("a word [with brackets]")
    bar.close()
    shown = capsys.readouterr().err
    assert "70/100" in shown and "train/loss 1.25" in shown and "[with brackets]" in shown


def test_no_terminal_gets_lines():
    assert isinstance(make_progress(10, 0), Lines)
