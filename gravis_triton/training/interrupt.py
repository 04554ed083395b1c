"""SIGTERM, SIGUSR1, SIGHUP and Ctrl-C as stop requests, so that a run can save its state first."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gravis_triton.process import STOP_SIGNALS, signal_on_parents_death

_ECHO_SECONDS = 2.0  # in which launchers, srun and timeout may forward a signal that the process group already got


class StopRequest:
    """Truthy once a signal has requested a stop; `number` is the signal number."""

    number: int = 0

    def __bool__(self) -> bool:
        return self.number != 0


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Inside, the first of these signals is recorded instead of acted on; one sent seconds later acts as usual."""
    request = StopRequest()
    before: dict[int, signal._HANDLER] = {}
    first = 0.0

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        if not request:
            signal_on_parents_death(0)  # the launcher's death must not count as a second signal
            request.number, first = number, time.monotonic()
        elif time.monotonic() - first > _ECHO_SECONDS:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    is_main = threading.current_thread() is threading.main_thread()  # only it can have handlers
    for wish in STOP_SIGNALS if is_main else ():
        if signal.getsignal(wish) is not signal.SIG_IGN:  # nohup ignores SIGHUP: so do we
            before[wish] = signal.signal(wish, note)
    try:
        yield request
    finally:
        restore()
