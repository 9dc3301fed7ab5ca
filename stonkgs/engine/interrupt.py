"""Turns Ctrl-C and SIGTERM into one exception, raised between two batches, where no work is lost."""

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
    """SIGINT or SIGTERM. It is no Exception, so that no code on the way handles it as a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        #: says what has been kept, and how to continue
        self.advice = "nothing was published; the same command starts again"


class _State:
    """The state of this process's handlers."""

    #: whether a signal waits for the end of a batch
    deferred = False
    #: the signal that waits
    pending: int | None = None
    #: time of the last signal that was not ignored
    taken = -math.inf


#: A signal within these seconds of another is ignored: a parent may pass on a Ctrl-C that the terminal sent to both.
_SAME = 2.0


@contextmanager
def signals() -> Iterator[None]:
    """Raises Interrupted for Ctrl-C and SIGTERM inside the `with` block; restores the earlier handlers after it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    _State.taken = -math.inf
    try:
        yield
    finally:
        _State.deferred, _State.pending = False, None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def advising(advice: Callable[[], str]) -> Iterator[None]:
    """Adds this advice to an Interrupted that leaves the `with` block."""
    try:
        yield
    except Interrupted as error:
        error.advice = advice()
        raise


def defer_signals() -> None:
    """Makes the first signal wait for `raise_pending`; a second one is raised at once.

    An exception that a handler raises inside a destructor is printed and lost (this happened in one run of 50). Our
    handlers are set again because Lightning has replaced them in a training on several devices: its own make all
    processes wait for each other.
    """
    if threading.current_thread() is threading.main_thread():
        _State.deferred = True
        for number in SIGNALS:
            signal.signal(number, _handle)


def stop_deferring() -> None:
    """Makes every signal raise at once again, first the one that waits, if any."""
    _State.deferred = False
    raise_pending()


def signal_pending() -> bool:
    """Returns whether a signal waits to be raised."""
    return _State.pending is not None


def raise_pending() -> None:
    """Raises Interrupted for the signal that waits, if any; later signals do not wait."""
    if _State.pending is not None:
        signum, _State.pending, _State.deferred = _State.pending, None, False
        raise Interrupted(signum)


def _handle(signum: int, _: FrameType | None) -> None:
    if time.monotonic() - _State.taken < _SAME:
        return
    _State.taken = time.monotonic()
    if _State.deferred and _State.pending is None:
        _State.pending = signum
    else:
        raise Interrupted(signum)
