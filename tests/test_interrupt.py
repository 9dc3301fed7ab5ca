"""Signals: at once where nothing is at stake, at a batch's end where something is, never twice for one wish."""

import os
import signal
import time

import pytest

from stonkgs.engine import interrupt
from stonkgs.engine.interrupt import Interrupted, signals


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught, signals():
        send(signal.SIGTERM)
    assert caught.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_at_a_batchs_end() -> None:
    with signals():
        interrupt.defer_signals()
        send(signal.SIGINT)
        send(signal.SIGTERM)  # the parent's, of the same Ctrl-C
        time.sleep(0.01)
        with pytest.raises(Interrupted):
            interrupt.raise_pending()
        interrupt.raise_pending()


def test_a_second_wish_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "_SAME", 0.0)
    with signals():
        interrupt.defer_signals()
        send(signal.SIGINT)
        with pytest.raises(Interrupted):
            send(signal.SIGINT)


def test_the_last_batch_is_followed_by_it() -> None:
    with signals():
        interrupt.defer_signals()
        interrupt.raise_pending()
        send(signal.SIGINT)
        with pytest.raises(Interrupted):
            interrupt.stop_deferring()


def test_after_the_one_that_waited_none_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "_SAME", 0.0)
    with signals():
        interrupt.defer_signals()
        send(signal.SIGINT)
        with pytest.raises(Interrupted):
            interrupt.raise_pending()
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)


def test_advice_is_for_who_was_interrupted() -> None:
    with pytest.raises(Interrupted) as caught, interrupt.advising(lambda: "go on"):
        raise Interrupted(signal.SIGINT)
    assert caught.value.advice == "go on"
