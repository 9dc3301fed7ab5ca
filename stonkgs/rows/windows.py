"""Windows of statements to batches, in this process or in others ahead of it."""

import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from stonkgs.batch import Batch, window_batches
from stonkgs.disk import explain_full_shm
from stonkgs.encode.encoder import Encoder
from stonkgs.errors import UserError
from stonkgs.statement import Statement

Window = list[Statement]


def encoded(
    read: Iterator[Window], encoder: Encoder, *, size: int, num_workers: int
) -> Generator[tuple[Window, Iterable[Batch]], None, None]:
    """Each window with its batches. With workers as many windows are read ahead as there are workers.

    Closing this ends the workers.
    """
    if not num_workers:
        for window in read:
            yield window, window_batches(window, encoder, size=size)
        return
    with explain_full_shm(num_workers):
        pool = ProcessPoolExecutor(num_workers, initializer=_begin, initargs=(encoder, size))
    try:
        yield from _ahead(read, pool, num_workers)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process ended early: killed, perhaps for want of memory (try a smaller num_workers), or, where "
            "processes are not forked, started by a script without if __name__ == '__main__':"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(read: Iterator[Window], pool: ProcessPoolExecutor, ahead: int) -> Iterator[tuple[Window, list[Batch]]]:
    pending: deque[tuple[Window, Future[list[Batch]]]] = deque()
    failure: Exception | None = None
    while failure is None:
        try:
            window = next(read, None)
        except Exception as error:  # the rows before it are still on their way
            window, failure = None, error
        if window is None:
            break
        # Only what is encoded: the rows' other values may be of any size.
        bare = [Statement(statement.source, statement.target, statement.evidence) for statement in window]
        pending.append((window, pool.submit(_encode, bare)))
        if len(pending) > ahead:
            yield _result(pending)
    while pending:
        yield _result(pending)
    if failure is not None:
        raise failure


def _result(pending: deque[tuple[Window, Future[list[Batch]]]]) -> tuple[Window, list[Batch]]:
    window, batches = pending.popleft()
    return window, batches.result()


#: What a worker encodes with, and the rows of a batch.
_settings: tuple[Encoder, int] | None = None


def _begin(encoder: Encoder, size: int) -> None:
    """Make this process a worker; Ctrl-C is the main process's affair, which ends its workers."""
    global _settings  # noqa: PLW0603  # an executor has no other way to keep something in its processes
    _settings = encoder, size
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _encode(window: Window) -> list[Batch]:
    assert _settings is not None
    encoder, size = _settings
    return list(window_batches(window, encoder, size=size))
