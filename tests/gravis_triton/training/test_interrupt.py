import signal
import time
from collections.abc import Iterator

import pytest

from gravis_triton.training.interrupt import stop_on_signals


@pytest.fixture(autouse=True)
def signals_not_ignored() -> Iterator[None]:
    """SIGINT and SIGHUP act as usual, also under nohup and in the background of a shell."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_the_first_signal_is_noted_and_so_is_its_echo(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as request:
        signal.raise_signal(number)
        signal.raise_signal(number)  # passed on by timeout or a launcher
        assert request
        assert request.number == number
    assert signal.getsignal(number) == before


def test_a_signal_seconds_later_acts_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    with stop_on_signals() as request:
        signal.raise_signal(signal.SIGTERM)
        now = time.monotonic()
        monkeypatch.setattr("gravis_triton.training.interrupt.time.monotonic", lambda: now + 3)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGTERM


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as request:
            signal.raise_signal(signal.SIGHUP)
            assert not request
    finally:
        signal.signal(signal.SIGHUP, before)
