"""Several runs in one program: each is the run that it would be alone."""

import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seq2seq_jax.models.seq2seq import initializer
from seq2seq_jax.rng import named
from seq2seq_jax.training import loop, population, step
from seq2seq_jax.training.checkpoints import restore_best
from seq2seq_jax.training.compiled import CompiledStep
from seq2seq_jax.training.interrupts import Interrupted
from seq2seq_jax.training.member import Lane, Member, TrainingError
from tests.training.tiny_run import SIZE, scripted, tiny_batches, tiny_config, tiny_evaluate
from tests.training.toy import Killed, final, lines, make_toy_step, stop_at

# Products of several lanes go through other kernels than those of one, which add in another order:
# the last bit (6e-8) of single numbers differs, and 20 Adam steps carry it on. 1e-6 was seen.
ROUNDING = 1e-5


def together(folder, configs, params, evaluate, shapes=((8, 8),), graphdef=None, ended=()):
    """(results or errors, in the order of the members) of a group that trains in folder/0, 1, ...

    `ended`: members that keep their lanes only.
    """
    lanes = [
        Lane(config, params[i])
        if i in ended
        else Member(config, folder / str(i), params[i], evaluate[i], keep=2)
        for i, config in enumerate(configs)
    ]
    batches = [tiny_batches(config, shapes) for config in configs]
    ends = loop.train_together(lanes, graphdef, batches)
    return {member.workdir.name: end for member, end in ends}


# --- the real step

SHAPES = ((4, 4), (8, 8))
MEMBERS = [
    {},
    {"train.learning_rate": 1e38},
    {
        "seed": 3,
        "model.dropout.output": 0.4,
        "model.attention.temperature": 0.5,
        "train.learning_rate": 0.003,
        "train.schedule": "linear",
        "train.label_smoothing": 0.2,
        "teacher_forcing.ratio": 0.6,
        "teacher_forcing.schedule": "linear",
        "teacher_forcing.decay": 0.02,
    },
]


def real_config(changes):
    config = tiny_config(steps=20, eval_every=10)
    config.model.encoder.cell = config.model.decoder.cell = "elman"  # compiles fastest
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module", params=[True, False], ids=["in turn", "at once"])
def real(request, tmp_path_factory):
    """A group whose members differ in all kinds of numbers; the second one's loss overflows."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population, "in_turn", lambda: request.param)
        yield train_real(folder)


def train_real(folder):
    configs = [real_config(changes) for changes in MEMBERS]
    graphdef, draw = initializer(configs[0].model, SIZE, SIZE)
    evaluate = tiny_evaluate(graphdef)
    params = [draw(named(jax.random.key(config.seed), "model")) for config in configs]
    ends = together(folder, configs, params, [evaluate] * len(configs), SHAPES, graphdef)
    return folder, ends, (graphdef, params, evaluate)


def test_a_member_is_the_run_that_it_would_be_alone(real, tmp_path):
    folder, ends, (graphdef, params, evaluate) = real
    config = real_config(MEMBERS[2])
    model, batches = (graphdef, params[2]), tiny_batches(config, SHAPES)
    alone = loop.train(config, tmp_path, model, batches, evaluate)
    one, member = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (tmp_path, folder / "2")
    )
    assert len(one) == len(member) == 6
    for a, b in zip(one, member, strict=True):
        assert list(a) == list(b)
        assert b == pytest.approx(a, rel=ROUNDING)
        for name in ("train/gold_share", "train/tokens", "train/ratio", "train/learning_rate"):
            assert a.get(name) == b.get(name)  # coins and batches are the same to the last bit
    assert (ends["2"].step, ends["2"].best_step) == (alone.step, alone.best_step)
    assert ends["2"].compilations == alone.compilations == len(SHAPES)
    best, own = (
        jax.tree.leaves(restore_best(run / "checkpoints", params[2]).tree)
        for run in (tmp_path, folder / "2")
    )
    for a, b in zip(best, own, strict=True):
        np.testing.assert_allclose(a, b, rtol=ROUNDING, atol=ROUNDING)
    files = [
        sorted(str(path.relative_to(run)) for path in run.glob("checkpoints/*/*"))
        for run in (tmp_path, folder / "2")
    ]
    assert files[0] == files[1] != []


def test_a_loss_that_is_no_number_ends_its_own_run_alone(real):
    folder, ends, _ = real
    assert list(ends) == ["1", "0", "2"]  # in the order in which they ended
    error = ends["1"]
    assert isinstance(error, TrainingError)
    assert f"is not finite (NaN or infinite) in {folder / '1'}" in str(error)
    assert ends["0"].step == ends["2"].step == 20


def test_no_gradient_is_taken_of_a_run_that_has_ended(tmp_path, monkeypatch):
    """In turn; each loss that the running program makes is counted."""
    seen, original = [], step.cross_entropy

    def counting(*arguments, **options):
        jax.debug.callback(lambda: seen.append(1))
        return original(*arguments, **options)

    monkeypatch.setattr(step, "cross_entropy", counting)
    monkeypatch.setattr(population, "in_turn", lambda: True)
    changes = {}, {}, {"train.learning_rate": 1e38}, {"train.patience": 1}
    configs = [real_config({"train.eval_every": 5, **own}) for own in changes]
    graphdef, draw = initializer(configs[0].model, SIZE, SIZE)
    params = [draw(named(jax.random.key(0), "model"))] * len(configs)
    evaluate = [scripted("valid/loss", [1.0] * 4) for _ in configs]
    ends = together(tmp_path, configs, params, evaluate, SHAPES, graphdef, ended=(1,))
    jax.effects_barrier()
    assert [ends[name].step for name in "03"] == [20, 10]
    assert "step 2 is not finite" in str(ends["2"])
    assert len(seen) == 20 + 0 + 2 + 10


# --- the toy step: what is written when

COUNT = 3


@pytest.fixture
def toys(monkeypatch, tmp_path):
    """toys(evaluate, **train) trains three toys in the folders "group/0", "group/1", "group/2"."""
    monkeypatch.setattr(loop, "make_train_step", make_toy_step)
    return lambda *arguments, **options: train_toys(tmp_path / "group", *arguments, **options)


def train_toys(folder, evaluate=None, changes=({},) * COUNT, ended=(), **values):
    configs = []
    for seed, change in enumerate(changes):
        config = tiny_config(**values)
        config.update_from_flattened_dict({"seed": seed} | change)
        configs.append(config)
    params = [{"w": jnp.full(3, 10.0, jnp.float32)}] * COUNT
    evaluate = evaluate or [lambda params, step: {"valid/loss": float(params["w"][0])}] * COUNT
    return together(folder, configs, params, evaluate, ended=ended)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What 30 uninterrupted updates leave behind."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_train_step", make_toy_step)
        train_toys(folder, steps=30)
    return finals(folder)


def finals(folder):
    return [final(folder / str(i)) for i in range(COUNT)]


def test_each_has_its_own_order_key_and_numbers(toys, tmp_path, whole):
    assert len({metrics for _, _, metrics in whole}) == COUNT
    toys(steps=10, changes=({}, {"train.learning_rate": 0.5}, {"teacher_forcing.ratio": 0.1}))
    found = [lines(tmp_path / "group" / str(i), "train/")[-1] for i in range(COUNT)]
    assert [line["train/learning_rate"] for line in found] == [0.01, 0.5, 0.01]
    assert [line["train/ratio"] for line in found] == [0.8, 0.8, 0.1]
    assert [line["train/gold_share"] for line in found] == pytest.approx([0.8, 0.8, 0.1])
    own = [tiny_batches(tiny_config(), ((8, 8),)).with_seed(seed) for seed in range(COUNT)]
    for line, batches in zip(found, own, strict=True):
        rows = np.concatenate([batches[i].index_B for i in range(5, 10)])
        assert line["train/loss"] == pytest.approx(rows[rows >= 0].mean())


def test_one_order_for_all_is_one_batch(toys, monkeypatch):
    """Runs that see the same batches share them, whether by their seed or by data.order."""
    seen = calls_of(monkeypatch)
    toys(steps=5, changes=({"seed": 4}, {"seed": 4}, {"seed": 4}))
    toys(steps=10)
    assert [shape for shape, _ in seen] == [(8,)] * 5 + [(COUNT, 8)] * 5


def test_the_path_without_coins_is_for_all_or_none(toys, monkeypatch):
    """Ratios of 1, 0.95, ... and so on: all are 1 at the first update alone."""
    seen = calls_of(monkeypatch)
    falling = {
        "teacher_forcing.ratio": 1.0,
        "teacher_forcing.schedule": "linear",
        "teacher_forcing.decay": 0.05,
    }
    gold = {"teacher_forcing.ratio": 1.0}
    ends = toys(steps=5, changes=(falling, gold, gold))
    assert [forced for _, forced in seen] == [True, False, False, False, False]
    assert {end.compilations for end in ends.values()} == {2}
    seen.clear()
    toys(steps=10, changes=(falling, {"teacher_forcing.ratio": 0.5}, gold))
    assert [forced for _, forced in seen] == [False] * 5


def calls_of(monkeypatch):
    """A list that gets the shape of the indices, and the path, of every update."""
    seen = []

    class Looking(CompiledStep):
        def __call__(self, state, batch, *arguments, forced):
            seen.append((batch.index_B.shape, forced))
            return super().__call__(state, batch, *arguments, forced=forced)

    monkeypatch.setattr(loop, "CompiledStep", Looking)
    return seen


def test_a_member_that_stops_early_leaves_the_others(toys, tmp_path):
    values = [[3.0, 2.0, 1.0, 0.5, 0.4], [1.0, 2.0, 3.0], [5.0, 4.0, 4.0, 4.0]]
    evaluate = [scripted("valid/loss", own) for own in values]
    ends = toys(evaluate, steps=50, changes=({}, {}, {"train.patience": 2}), patience=2)
    assert list(ends) == ["1", "2", "0"]
    assert [(end.step, end.best_step, end.reason) for end in ends.values()] == [
        (30, 10, "early stopping"),
        (40, 20, "early stopping"),
        (50, 50, "finished"),
    ]
    steps = [[line["step"] for line in lines(tmp_path / "group" / i, "valid/")] for i in "012"]
    assert steps == [[10, 20, 30, 40, 50], [10, 20, 30], [10, 20, 30, 40]]


def test_an_early_stop_is_not_trained_again(toys, tmp_path, monkeypatch):
    """Killed after the last checkpoint, before the run was known to have ended."""
    values = [[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [5.0, 4.0, 3.0]]
    with monkeypatch.context() as patch:
        stop_at(patch, "after last", 9)
        with pytest.raises(Killed):
            toys([scripted("valid/loss", own) for own in values], steps=50, patience=2)
    rest = [scripted("valid/loss", own) for own in ([0.5, 0.4], [], [2.0, 1.0])]
    ends = toys(rest, steps=50, patience=2)
    assert [(name, end.step) for name, end in ends.items()] == [("1", 30), ("0", 50), ("2", 50)]


def test_a_bad_update_ends_one_run(toys, tmp_path, whole):
    ends = toys(steps=30, changes=({}, {"train.learning_rate": 1e4}, {}))
    assert list(ends) == ["1", "0", "2"]
    assert "step 1 is not finite" in str(ends["1"])
    assert "there is no checkpoint yet" in str(ends["1"])
    assert lines(tmp_path / "group" / "1", "train/") == []
    found = [final(tmp_path / "group" / i) for i in "02"]
    assert found == [whole[0], whole[2]]  # what is in another lane changes no bit


def test_a_refused_evaluation_ends_one_run(toys, tmp_path, whole):
    ends = toys(steps=30, changes=({}, {"train.best_metric": "valid/aer"}, {}))
    assert isinstance(ends["1"], TrainingError)
    assert "valid/aer', which no evaluation gave" in str(ends["1"])
    assert [final(tmp_path / "group" / i) for i in "02"] == [whole[0], whole[2]]


# In the order of lanes, each member at each evaluation: the place is passed by the members one
# after another, so that some are a checkpoint ahead of the others.
@pytest.mark.parametrize(
    ("place", "count"),
    [
        ("after the line of an evaluation", 7),
        ("before the best", 2),
        ("between best and last", 5),
        ("after last", 1),
        ("after last", 4),
        ("after last", 8),
    ],
)
def test_a_stop_between_two_members_changes_nothing(
    toys, tmp_path, whole, monkeypatch, place, count
):
    with monkeypatch.context() as patch:
        stop_at(patch, place, count)
        with pytest.raises(Killed):
            toys(steps=30)
    toys(steps=30)
    assert finals(tmp_path / "group") == whole


def test_a_damaged_checkpoint_takes_the_others_back_too(toys, tmp_path, whole, capsys):
    toys(steps=30)
    newest = tmp_path / "group" / "1" / "checkpoints" / "last" / "30"
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    toys(steps=30)
    said = capsys.readouterr().err
    assert f"the checkpoint {newest} cannot be read" in said
    assert said.count("going on from the checkpoint of step 20") == 1
    assert finals(tmp_path / "group") == whole


def test_a_signal_saves_all(toys, tmp_path, whole, monkeypatch, capsys):
    calls = iter(range(1, 1000))

    class Signalling(CompiledStep):
        def __call__(self, *args, **kwargs):
            if next(calls) == 13:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__call__(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "CompiledStep", Signalling)
        with pytest.raises(Interrupted):
            toys(steps=30)
    assert "stopped by SIGTERM after step 13 of 30" in capsys.readouterr().err
    toys(steps=30)
    assert finals(tmp_path / "group") == whole


def test_a_signal_while_the_first_is_tested_leaves_the_others_to_the_next_command(
    toys, tmp_path, whole, monkeypatch, capsys
):
    given, original = [], loop._Trainer._result

    def result(self, selection):
        if not given:
            os.kill(os.getpid(), signal.SIGTERM)
        given.append(selection)
        return original(self, selection)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Trainer, "_result", result)
        with pytest.raises(Interrupted):
            toys(steps=30)
    assert len(given) == 1
    assert "stopped by SIGTERM after step 30 of 30" in capsys.readouterr().err
    assert list(toys(steps=30)) == ["0", "1", "2"]
    assert finals(tmp_path / "group") == whole


def test_a_run_that_has_ended_keeps_its_lane_and_changes_nothing(toys, tmp_path, whole):
    ends = toys(steps=30, ended=(1,))
    assert list(ends) == ["0", "2"]
    assert not (tmp_path / "group" / "1").exists()
    assert [final(tmp_path / "group" / i) for i in "02"] == [whole[0], whole[2]]
    assert toys(steps=30, ended=(0, 1, 2)) == {}


def test_progress_of_each_goes_to_its_log(toys, tmp_path):
    toys(steps=10)
    for i in range(COUNT):
        text = (tmp_path / "group" / str(i) / "log.txt").read_text()
        assert "step 10/10" in text and "valid/loss" in text
