"""Worker processes that load data; signals to the process group are left to the main process."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from gravis_triton.launcher import STOP_SIGNALS, signal_on_parents_death

Item_co = TypeVar("Item_co", covariant=True)


class Loader(DataLoader[Item_co]):
    """A DataLoader whose workers ignore stop signals, as the main process may need them until its step is done, and end
    with it, however it ends."""

    def __init__(self, items: Dataset[Any], **options: Any) -> None:
        super().__init__(items, worker_init_fn=_init_worker, **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # workers inherit the mask, so that no signal reaches them before they ignore signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _init_worker(_worker: int) -> None:
    signal_on_parents_death(signal.SIGKILL)
    main = multiprocessing.parent_process()
    if main is not None and os.getppid() != main.pid:  # it has ended already
        os._exit(1)
    sys.excepthook = _say_what_is_worth_saying
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _say_what_is_worth_saying(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Omit the traceback of a thread that was sending a batch to a main process that has just ended."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)
