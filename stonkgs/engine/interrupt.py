"""Ctrl-C and SIGTERM: one exception, at a place where nothing is lost."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """SIGINT or SIGTERM: not an Exception, so that nothing on the way takes it for a failure to handle."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        #: what has become of the work, and how to go on
        self.advice = "nothing was published; the same command starts again"


class _State:
    """Whether signals wait for the end of a batch, which one does, and when the last one was taken."""

    waits = False
    pending: int | None = None
    taken = -math.inf


#: Seconds in which a signal after another is the same wish: a terminal's Ctrl-C reaches a process twice, by its parent.
_SAME = 2.0


@contextmanager
def signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise Interrupted; what was set before comes back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    _State.taken = -math.inf
    try:
        yield
    finally:
        _State.waits, _State.pending = False, None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def advising(advice: Callable[[], str]) -> Iterator[None]:
    """Who is interrupted in here is told this: what has become of the work, and how to go on."""
    try:
        yield
    except Interrupted as error:
        error.advice = advice()
        raise


def wait_for_batches() -> None:
    """From here on the first signal is raised by `check`, and only a second one wherever it comes.

    An exception out of a handler may come in a destructor, where it is printed and forgotten (seen, in one run of 50).
    Our handlers are set once more: in a training on several devices Lightning's own, set meanwhile, would have all
    processes wait for each other in a collective.
    """
    if threading.current_thread() is threading.main_thread():
        _State.waits = True
        for number in SIGNALS:
            signal.signal(number, _handle)


def wait_no_more() -> None:
    """From here on a signal is raised wherever it comes; one that has come, now."""
    _State.waits = False
    check()


def asked() -> bool:
    """Whether a signal has come that waits to be raised."""
    return _State.pending is not None


def check() -> None:
    """Raise the signal that has come; the next one does not wait."""
    if _State.pending is not None:
        signum, _State.pending, _State.waits = _State.pending, None, False
        raise Interrupted(signum)


def _handle(signum: int, _: FrameType | None) -> None:
    if time.monotonic() - _State.taken < _SAME:
        return
    _State.taken = time.monotonic()
    if _State.waits and _State.pending is None:
        _State.pending = signum
    else:
        raise Interrupted(signum)
