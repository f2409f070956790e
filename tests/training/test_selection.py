"""The best step, early stopping and cuts of the learning rate, on scripted evaluations."""

import pytest

from configs.default import get_config
from seq2seq_jax.config_checks import METRICS
from seq2seq_jax.training.selection import Plateau, Selection, improves
from seq2seq_jax.types import InputError


def selection(**values) -> Selection:
    train = get_config().train
    train.update(values)
    return Selection(train)


def test_direction_of_every_metric_that_may_be_chosen():
    lower = {name for name in METRICS if improves(name, 1.0, 2.0)}
    assert lower == {"valid/loss", "valid/perplexity", "valid/perplexity_free", "valid/aer"}
    higher = {name for name in METRICS if improves(name, 2.0, 1.0)}
    assert higher == set(METRICS) - lower


def test_equal_is_no_improvement_and_nan_never_is():
    for name in METRICS:
        assert not improves(name, 1.0, 1.0)
        assert not improves(name, float("nan"), 1.0)
        assert not improves(name, float("nan"), None)
        assert improves(name, 0.0, None)


def test_early_stopping_counts_from_the_best():
    chosen = selection(patience=2, best_metric="valid/bleu")
    seen = []
    for step, bleu in enumerate([3.0, 2.0, 4.0, 4.0, 1.0]):
        seen.append((chosen.update(step, {"valid/bleu": bleu}), chosen.stale, chosen.finished))
    assert seen == [
        (True, 0, False),
        (False, 1, False),
        (True, 0, False),
        (False, 1, False),
        (False, 2, True),
    ]
    assert (chosen.best, chosen.best_step) == (4.0, 2)


def test_patience_zero_never_stops():
    chosen = selection(patience=0)
    for step in range(50):
        chosen.update(step, {"valid/loss": 1.0})
    assert not chosen.finished


def test_plateau_cuts_and_counts_anew():
    plateau = Plateau(patience=2, factor=0.5)
    scales = []
    for improved in [True, False, True, False, False, False, False, True, False]:
        plateau.update(improved)
        scales.append(plateau.scale)
    assert scales == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_the_plateau_moves_its_own_schedule_only():
    for schedule, scale in (("plateau", 0.1), ("constant", 1.0)):
        chosen = selection(schedule=schedule, plateau_patience=1, plateau_factor=0.1)
        for step in range(2):
            chosen.update(step, {"valid/loss": 1.0})
        assert chosen.rate_scale == scale


def test_a_restored_selection_goes_on_alike():
    losses = [3.0, 4.0, 2.0, 2.5, 2.6, 1.0, 1.1, 1.2, 1.3]
    options = {"schedule": "plateau", "plateau_patience": 2, "patience": 9}
    whole, first = selection(**options), selection(**options)
    for step, loss in enumerate(losses):
        whole.update(step, {"valid/loss": loss})
    for step, loss in enumerate(losses[:5]):
        first.update(step, {"valid/loss": loss})
    second = selection(**options)
    second.restore(first.state())
    for step, loss in enumerate(losses[5:], start=5):
        second.update(step, {"valid/loss": loss})
    assert second.state() == whole.state()
    assert whole.state()["plateau"]["scale"] == 0.25


def test_a_metric_that_was_not_measured_is_an_input_error():
    with pytest.raises(InputError, match=r"valid/bleu.*there are: valid/loss"):
        selection(best_metric="valid/bleu").update(1, {"valid/loss": 1.0})
