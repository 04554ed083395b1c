import signal

import pytest

from gravis_triton.training.interrupt import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_handler_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as request:
        signal.raise_signal(number)
        assert request
        assert request.number == number
        assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as request:
            signal.raise_signal(signal.SIGHUP)
            assert not request
    finally:
        signal.signal(signal.SIGHUP, before)
