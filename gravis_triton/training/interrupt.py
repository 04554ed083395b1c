"""SIGTERM, SIGUSR1, SIGHUP and Ctrl-C as a wish to stop, so that a run can save itself first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Truthy once a signal has asked to stop; `number` is the signal's."""

    number: int = 0

    def __bool__(self) -> bool:
        return self.number != 0


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """While inside, the first of these signals is noted instead of obeyed; a second one acts as usual."""
    request = StopRequest()
    before: dict[int, signal._HANDLER] = {}

    def note(number: int, _frame: FrameType | None) -> None:
        request.number = number
        restore()

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    for wish in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
        if signal.getsignal(wish) is not signal.SIG_IGN:  # nohup ignores SIGHUP: so do we
            before[wish] = signal.signal(wish, note)
    try:
        yield request
    finally:
        restore()
