"""How a training ends by a signal."""

import gc
import sys
import time

import pytest

from seq2seq_jax.commands import train


class Lost:
    """Raises where Python can only report it, as in a callback of the garbage collector."""

    def __init__(self, error):
        self.me, self.error = self, error

    def __del__(self):
        raise self.error


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_signal_whose_exception_is_dropped_comes_once_more(error):
    with pytest.raises(error) as ended, train._ends_by_signals():
        Lost(error)
        gc.collect()
        time.sleep(10)  # the signal ends it
    assert error is KeyboardInterrupt or ended.value.code == 143


def test_other_errors_that_are_dropped_are_reported_as_before(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    with train._ends_by_signals():
        Lost(ValueError)
        gc.collect()
    assert [dropped.exc_type for dropped in reported] == [ValueError]
    assert sys.unraisablehook == reported.append
