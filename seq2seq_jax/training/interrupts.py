"""SIGTERM and SIGINT, as wishes that the loop grants after the step at hand."""

import signal
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """A run that was asked to stop, and saved itself first; the status is 128 + the signal."""

    def __init__(self, number: int):
        super().__init__(128 + number)


class Interrupts:
    """While entered, `received` is the number of the first such signal, 0 before it.

    A second one acts as it would without us, so an impatient user is not ignored. Outside the
    main thread, where Python has no signal handlers, nothing is ever received.
    """

    def __init__(self):
        self.received = 0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in SIGNALS}
            for number in SIGNALS:
                signal.signal(number, self._receive)
        return self

    def _receive(self, number, frame) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # ty: ignore[invalid-argument-type]
        self._previous = {}

    def __exit__(self, *exc) -> None:
        self._restore()
