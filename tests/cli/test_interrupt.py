"""Ctrl-C: the first asks, the second aborts, and afterwards all is as before."""

from __future__ import annotations

import os
import signal

import pytest

from edgeseg.cli.interrupt import stopped_by_interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_aborts(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with stopped_by_interrupt("Saving") as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert "Saving; Ctrl-C again aborts at once." in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_asking_a_service_again_and_again_loses_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with stopped_by_interrupt("", drain_s=60) as stop:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                assert stop()
        os.kill(os.getpid(), signal.SIGTERM)  # Its last lines are being written.
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stopped_by_interrupt("Saving"):
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
