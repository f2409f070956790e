"""Which runs can share a program."""

import jax
import pytest

from seq2seq_jax import config as configs
from seq2seq_jax.config_signature import DECIDED, OWN, TRACED, obstacles, read_together, signature
from seq2seq_jax.training.optimizers import make_optimizer
from seq2seq_jax.training.step import Hyper, init_state, make_hyper, make_train_step
from seq2seq_jax.types import InputError
from tests.small import small_config, small_guided_batch, small_model

# Another value that a run could have, of every kind of key.
NO_PART_OF_A_RUN = ("sweep.seeds", "sweep.cell", "sweep.baseline")


def other(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, tuple):
        return (*value, "x")
    return value + (1 if isinstance(value, int) else 0.25)


def changed(**changes):
    config = configs.defaults()
    # Each part of the step is there, so that a number alone does not switch it on.
    config.update_from_flattened_dict(
        {
            "model.dropout.input": 0.1,
            "model.dropout.output": 0.1,
            "train.coverage_loss": 0.5,
            "train.guided_alignment": 0.5,
            "teacher_forcing.ratio": 0.5,
        }
    )
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize("key", sorted(configs.flatten(configs.defaults())))
def test_every_key_is_a_run_s_own_or_in_the_signature(key):
    """A key that is new, and that nobody thought of, is one that runs have to share."""
    one = changed()
    two = changed(**{key: other(configs.flatten(one)[key])})
    if key in (*OWN, *NO_PART_OF_A_RUN):
        assert obstacles([one, two]) == []
    else:
        assert [line.partition(":")[0] for line in obstacles([one, two])] == [key]


def test_the_lists_name_keys_each_once():
    assert len(set(OWN)) == len(OWN)
    assert set(OWN) <= set(configs.flatten(configs.defaults()))


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ({"model.dropout.input": 0.0}, {"model.dropout.input": 0.1}, False),
        ({"model.dropout.output": 0.3}, {"model.dropout.output": 0.0}, False),
        ({"train.coverage_loss": 0.0}, {"train.coverage_loss": 1.0}, False),
        ({"train.guided_alignment": 0.0}, {"train.guided_alignment": 1.0}, False),
        ({"teacher_forcing.ratio": 1.0}, {"teacher_forcing.ratio": 0.9}, False),
        ({"teacher_forcing.ratio": 0.0}, {"teacher_forcing.ratio": 0.9}, True),
        (
            {"teacher_forcing.ratio": 1.0, "teacher_forcing.schedule": "linear"},
            {"teacher_forcing.ratio": 0.9},
            True,
        ),
        # A constant ratio has no floor.
        ({"teacher_forcing.floor": 1.0}, {"teacher_forcing.ratio": 1.0}, False),
        (
            {"teacher_forcing.floor": 1.0, "teacher_forcing.schedule": "linear"},
            {"teacher_forcing.ratio": 0.5},
            False,
        ),
    ],
)
def test_what_is_not_there_at_all_is_another_program(one, two, same):
    assert (signature(changed(**one)) == signature(changed(**two))) == same


def step_of(config):
    """The program of an update, as text."""
    graphdef, params = small_model()
    optimizer = make_optimizer(config.train)
    arguments = (
        init_state(params, optimizer, config.train.ema_decay),
        jax.tree.map(jax.numpy.asarray, small_guided_batch()),
        make_hyper(config, config.train.learning_rate, config.teacher_forcing.ratio),
        jax.random.key(config.seed),
    )
    step = make_train_step(config, graphdef, optimizer)
    return str(jax.make_jaxpr(lambda *given: step(*given, forced=False))(*arguments))


def test_traced_keys_change_no_program():
    one, two = small_config(), small_config()
    for config in (one, two):
        config.update_from_flattened_dict(
            {
                "model.dropout.input": 0.1,
                "model.dropout.output": 0.1,
                "train.coverage_loss": 0.5,
                "train.guided_alignment": 0.5,
            }
        )
        config.teacher_forcing.feed = "softmax_mixture"  # reads its temperature
    values = configs.flatten(two)
    two.update_from_flattened_dict({key: other(values[key]) / 2 for key in TRACED if key != "seed"})
    two.seed = 1
    assert step_of(one) == step_of(two)
    two.train.clip_norm = 0.5
    assert step_of(one) != step_of(two)


def test_every_argument_of_the_step_is_some_run_s_own():
    """Each number of Hyper comes from a key, the two schedules from theirs."""
    assert len(Hyper._fields) == len([key for key in TRACED if key != "seed"])
    assert not set(TRACED) & set(DECIDED)


def test_folders_that_cannot_train_together(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder, changes in zip(
        folders, ({}, {"seed": 1}, {"model.attention.score": "concat"}), strict=True
    ):
        folder.mkdir()
        configs.save(configs.load("configs/default.py", changes), folder / "config.json")
    assert [config.seed for config in read_together(folders[:2])] == [0, 1]
    with pytest.raises(InputError, match=r"model\.attention\.score: 'general', 'concat'"):
        read_together(folders)
    for folder, changes in zip(folders, ({}, {"seed": 1}), strict=False):
        changes = changes | {"model.encoder.cell": "lstm", "model.encoder.kernel": "cudnn"}
        configs.save(configs.load("configs/default.py", changes), folder / "config.json")
    assert obstacles([configs.read(folders[0] / "config.json")]) == []
    with pytest.raises(InputError, match=r"kernel: cudnn computes one run at a time; take scan"):
        read_together(folders[:2])
    with pytest.raises(InputError, match="given twice"):
        read_together([folders[0], folders[0]])
    with pytest.raises(InputError, match="is this the folder of a run"):
        read_together([folders[0], tmp_path / "none"])
