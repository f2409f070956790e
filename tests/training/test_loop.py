"""The loop around a toy step: what is written when, who decides, and stops of every kind."""

import json
import math
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seq2seq_jax.training import loop, member
from seq2seq_jax.training.checkpoints import Checkpoints, restore_average, restore_best
from seq2seq_jax.training.compiled import CompiledStep
from seq2seq_jax.training.interrupts import Interrupted, Interrupts
from seq2seq_jax.training.mesh import data_mesh, replicated
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.step import init_state, make_hyper
from seq2seq_jax.types import InputError
from tests.training.tiny_run import run, scripted, tiny_batches, tiny_config, tiny_model
from tests.training.toy import PLACES, Killed, final, lines, make_toy_step, stop_at


def train_toy(folder, evaluate=None, change=lambda config: None, shapes=((8, 8),), **values):
    config = tiny_config(**values)
    change(config)
    params = {"w": jnp.full(3, 10.0, jnp.float32)}
    evaluate = evaluate or (lambda params, step: {"valid/loss": float(params["w"][0])})
    return loop.train(config, folder, (None, params), tiny_batches(config, shapes), evaluate)


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """toy(evaluate, **train) trains the toy in the folder "run"."""
    monkeypatch.setattr(loop, "make_train_step", make_toy_step)

    def train(evaluate=None, folder="run", **options):
        return train_toy(tmp_path / folder, evaluate, **options)

    return train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What 30 uninterrupted updates leave behind."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_train_step", make_toy_step)
        train_toy(folder, steps=30)
    return final(folder)


def test_steps_or_epochs():
    assert loop.total_steps(tiny_config(steps=70, epochs=0.0).train, 13) == 70
    assert loop.total_steps(tiny_config(steps=0, epochs=2.0).train, 13) == 26
    assert loop.total_steps(tiny_config(steps=0, epochs=0.5).train, 13) == 7
    assert loop.total_steps(tiny_config(steps=0, epochs=1.1).train, 50) == 55


def test_lines_come_when_they_should(toy, tmp_path):
    result = toy(steps=23)
    assert [line["step"] for line in lines(tmp_path / "run", "train/")] == [5, 10, 15, 20, 23]
    assert [line["step"] for line in lines(tmp_path / "run", "valid/")] == [10, 20, 23]
    assert (result.step, result.reason) == (23, "finished")
    last = tmp_path / "run" / "checkpoints" / "last"
    assert sorted(path.name for path in last.iterdir()) == ["20", "23"]
    timing = (tmp_path / "run" / "timing.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in timing] == [5, 10, 15, 20, 23]


def test_a_line_divides_the_sums_of_its_window_once(toy, tmp_path):
    shapes = ((4, 4), (8, 8))
    toy(steps=12, shapes=shapes)
    batches = tiny_batches(tiny_config(), shapes)
    rows = [batches[i].index_B[batches[i].index_B >= 0] for i in range(12)]
    assert len({len(row) for row in rows}) > 1  # or a mean of means would do
    for line, (start, end) in zip(
        lines(tmp_path / "run", "train/"), [(0, 5), (5, 10), (10, 12)], strict=True
    ):
        window = np.concatenate(rows[start:end])
        assert line["train/loss"] == pytest.approx(window.mean(), rel=1e-6)
        assert line["train/tokens"] == len(window)
        assert line["train/gold_share"] == pytest.approx(0.8)
        assert line["train/gradient_norm"] == 1


def test_rate_and_ratio_follow_their_schedules(toy, tmp_path):
    def change(config):
        config.teacher_forcing.update(schedule="linear", ratio=1.0, decay=0.01)

    toy(change=change, steps=20, schedule="linear", learning_rate=1.0)
    found = lines(tmp_path / "run", "train/")
    # Of the last update of each window, counted from 0.
    assert [line["train/ratio"] for line in found] == [1 - n / 100 for n in (4, 9, 14, 19)]
    assert [line["train/learning_rate"] for line in found] == [1 - n / 20 for n in (4, 9, 14, 19)]


def test_the_best_checkpoint_is_the_best(toy, tmp_path):
    seen = {}
    values = iter([3.0, 1.0, 2.0, 1.0, 5.0])

    def evaluate(params, step):
        seen[step] = np.array(params["w"])
        return {"valid/loss": next(values)}

    result = toy(evaluate, steps=50)
    assert (result.best_step, result.best) == (20, 1.0)
    saved = restore_best(tmp_path / "run" / "checkpoints", {"w": jnp.zeros(3)})
    assert saved.step == 20
    np.testing.assert_array_equal(saved.tree["w"], seen[20])
    assert not np.array_equal(seen[20], seen[10]) and not np.array_equal(seen[20], seen[30])


def test_a_validation_that_is_no_number_ends_the_run(toy, tmp_path):
    """Also where the losses of training stay finite; the checkpoint before it is kept."""
    values = iter([3.0, math.nan, 2.0])
    words = r"valid/loss after step 20 is not finite.*the checkpoint of step 10 is kept"
    with pytest.raises(member.TrainingError, match=words):
        toy(lambda params, step: {"valid/loss": next(values)}, steps=50)
    last = tmp_path / "run" / "checkpoints" / "last"
    assert [path.name for path in last.iterdir()] == ["10"]


def test_early_stopping_stays_stopped(toy, tmp_path):
    evaluate = scripted("valid/bleu", [1.0, 3.0, 2.0, 3.0, 9.0])
    result = toy(evaluate, steps=50, best_metric="valid/bleu", patience=2)
    assert (result.step, result.best_step, result.reason) == (40, 20, "early stopping")
    before = final(tmp_path / "run")
    again = toy(scripted("valid/bleu", []), steps=50, best_metric="valid/bleu", patience=2)
    assert (again.step, again.best_step, again.reason) == (40, 20, "early stopping")
    assert final(tmp_path / "run") == before


def test_a_plateau_cuts_the_rate(toy, tmp_path):
    evaluate = scripted("valid/loss", [1.0, 2.0, 2.0, 0.5, 0.4])
    options = {"plateau_patience": 2, "plateau_factor": 0.1, "learning_rate": 1.0}
    toy(evaluate, steps=50, schedule="plateau", log_every=10, **options)
    rates = [line["train/learning_rate"] for line in lines(tmp_path / "run", "train/")]
    assert rates == [1.0, 1.0, 1.0, 0.1, 0.1]


def test_the_moving_average_is_evaluated_and_kept_as_the_best(toy, tmp_path):
    seen = []

    def evaluate(params, step):
        seen.append(float(params["w"][0]))
        return {"valid/loss": float(-step)}

    def no_noise(config):
        config.data.batch_size = 4

    toy(evaluate, steps=10, ema_decay=0.5, change=no_noise)
    saved = restore_best(tmp_path / "run" / "checkpoints", {"w": jnp.zeros(3)})
    assert saved.tree["w"][0] == np.float32(seen[0])
    toy(evaluate, folder="plain", steps=10, change=no_noise)
    assert seen[0] > seen[1]  # the toy's average lags one update behind the falling parameters


def test_a_finished_run_does_nothing_more(toy, tmp_path):
    toy(steps=20)
    before = final(tmp_path / "run")
    result = toy(lambda params, step: pytest.fail("evaluated again"), steps=20)
    assert (result.step, result.compilations) == (20, 0)
    assert final(tmp_path / "run") == before


def test_the_callers_parameters_live_on(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "make_train_step", make_toy_step)
    config, params = tiny_config(steps=5), {"w": jnp.full(3, 10.0, jnp.float32)}
    evaluate = scripted("valid/loss", [1.0])
    loop.train(config, tmp_path, (None, params), tiny_batches(config), evaluate)
    np.testing.assert_array_equal(params["w"], 10.0)


@pytest.mark.parametrize(
    ("number", "status", "moment"), [(signal.SIGTERM, 143, 10), (signal.SIGINT, 130, 13)]
)
def test_a_signal_saves_and_the_same_command_goes_on(
    toy, tmp_path, whole, capsys, monkeypatch, number, status, moment
):
    calls = iter(range(1, 1000))

    class Signalling(CompiledStep):
        def __call__(self, *args, **kwargs):
            if next(calls) == moment:
                os.kill(os.getpid(), number)
            return super().__call__(*args, **kwargs)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "CompiledStep", Signalling)
        with pytest.raises(Interrupted) as stop:
            toy(steps=30)
    assert stop.value.code == status
    assert signal.getsignal(number) is before
    assert f"after step {moment} of 30" in capsys.readouterr().err
    # An average takes none that was saved for a signal alone.
    like = {"w": jnp.zeros(3)}
    assert restore_average(tmp_path / "run" / "checkpoints", like, 1).step == 10
    toy(steps=30)
    assert f"going on from the checkpoint of step {moment}" in capsys.readouterr().err
    assert final(tmp_path / "run") == whole


@pytest.fixture
def usual_sigint():
    """A shell starts what it runs in the background with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_acts_at_once(usual_sigint):
    with Interrupts() as interrupts:
        assert not interrupts.received
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("count", [1, 3])
def test_a_stop_at_any_place_changes_nothing(toy, tmp_path, whole, monkeypatch, place, count):
    """What kill -9 does, at chosen places: nothing after the place is done."""
    with monkeypatch.context() as patch:
        stop_at(patch, place, count)
        with pytest.raises(Killed):
            toy(steps=30)
    toy(steps=30)
    assert final(tmp_path / "run") == whole
    best = tmp_path / "run" / "checkpoints" / "best"
    assert {path.name for path in best.iterdir()} == {"20", "30"}


def test_a_full_disk_is_explained_and_space_lets_it_go_on(toy, tmp_path, whole, monkeypatch):
    original = Checkpoints.save

    def full(self, step, *arguments):
        if step == 20:
            raise OSError(28, "No space left on device")
        original(self, step, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        with pytest.raises(InputError, match="disk is full"):
            toy(steps=30)
    toy(steps=30)
    assert final(tmp_path / "run") == whole


def test_a_damaged_newest_checkpoint_costs_time_only(toy, tmp_path, whole, capsys):
    toy(steps=30)
    newest = tmp_path / "run" / "checkpoints" / "last" / "30"
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    toy(steps=30)
    said = capsys.readouterr().err
    assert f"the checkpoint {newest} cannot be read" in said
    assert "going on from the checkpoint of step 20" in said
    assert final(tmp_path / "run") == whole


def test_a_step_compiles_once_a_shape_and_path(toy):
    def change(config):
        config.teacher_forcing.update(schedule="linear", ratio=1.3, decay=0.02)

    result = toy(change=change, steps=40, schedule="cosine", shapes=((4, 4), (8, 8)))
    assert result.compilations == 4  # two shapes, forced and not; no ratio or rate adds one


@pytest.fixture
def toy_step():
    """A step on one device, with its first arguments."""
    config = tiny_config()
    state = init_state({"w": jnp.zeros(3)}, make_optimizer(config.train), 0.0)
    mesh = data_mesh(8, jax.devices()[:1])
    state = jax.device_put(state, replicated(mesh))
    step = CompiledStep(make_toy_step(config, None, None), replicated(mesh))
    yield step, state, make_hyper(config, 0.1, 0.5), jax.random.key(0)
    step.close()


def test_a_surprise_compilation_is_a_warning(toy_step):
    step, state, hyper, key = toy_step
    batch = tiny_batches(tiny_config())[0]
    for _ in range(3):
        state = step(state, batch, hyper, key, forced=False)
    assert step.compilations == 1 and step.seconds > 0
    with pytest.warns(RuntimeWarning, match="compiled 2 times for one batch shape and path"):
        # A Python float is weakly typed, so it is another signature.
        step(state, batch, hyper._replace(learning_rate=0.1), key, forced=False)


def test_what_was_compiled_ahead_is_not_compiled_again(toy_step, caplog):
    step, state, hyper, key = toy_step
    batches = tiny_batches(tiny_config(), ((4, 4), (8, 8)))
    batch = batches[0]
    state = step(state, batch, hyper, key, forced=False)
    waited = step.seconds
    step.ahead(state, batches.blanks(), hyper, key, forced=False)
    other = next(b for b in batches if b.source_BS.shape != batch.source_BS.shape)
    with jax.log_compiles():
        state = step(state, other, hyper, key, forced=False)
        state = step(state, batch, hyper, key, forced=False)
        assert step.compilations == 2 and step.seconds > waited
        assert "XLA compilation" not in caplog.text  # of this thread
        step(state, batch, hyper, key, forced=True)
        assert "XLA compilation" in caplog.text


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, monkeypatch):
    """The real step, at a rate that overflows from update 13 on: the last checkpoint stays."""
    config = tiny_config(steps=40, optimizer="sgd", clip_norm=0.0)
    config.model.encoder.cell = config.model.decoder.cell = "elman"
    config.model.attention.score = "dot"
    config.model.dropout.output = 0.0
    config.teacher_forcing.ratio = 1.0

    def rate(n):
        return 0.01 if n < 12 else 1e38

    monkeypatch.setattr(member, "learning_rate_at", lambda train, total: rate)
    with pytest.raises(member.TrainingError, match=r"of step 1[34] is not finite.*step 10 is kept"):
        run(config, tmp_path, scripted("valid/loss", [1.0]), shapes=((8, 8),))
    assert [line["step"] for line in lines(tmp_path, "train/")] == [5, 10]
    last = tmp_path / "checkpoints" / "last"
    assert [path.name for path in last.iterdir()] == ["10"]
    _, params = tiny_model(config)
    assert restore_best(tmp_path / "checkpoints", params).step == 10
