"""Encodes windows of statements into batches, in this process or ahead of it in worker processes."""

import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from stonkgs.batch import Batch, window_batches
from stonkgs.disk import explain_full_shm
from stonkgs.encode.encoder import Encoder
from stonkgs.errors import UserError
from stonkgs.statement import Statement

Window = list[Statement]


def encode_windows(
    read: Iterator[Window], encoder: Encoder, *, size: int, num_workers: int
) -> Generator[tuple[Window, Iterable[Batch]], None, None]:
    """Yields each window with its batches of `size` rows. Workers encode as many windows ahead as there are workers.

    Closing the generator ends the workers. Raises UserError if a worker dies.
    """
    if not num_workers:
        for window in read:
            yield window, window_batches(window, encoder, size=size)
        return
    with explain_full_shm(num_workers):
        pool = ProcessPoolExecutor(num_workers, initializer=_start_worker, initargs=(encoder, size))
    try:
        yield from _ahead(read, pool, num_workers, encoder.columns)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process ended early: killed, perhaps for want of memory (try a smaller num_workers), or, where "
            "processes are not forked, started by a script without if __name__ == '__main__':"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(
    read: Iterator[Window], pool: ProcessPoolExecutor, ahead: int, columns: Sequence[str]
) -> Iterator[tuple[Window, list[Batch]]]:
    pending: deque[tuple[Window, Future[list[Batch]]]] = deque()
    failure: Exception | None = None
    while failure is None:
        try:
            window = next(read, None)
        except Exception as error:  # raised below, after the rows that were read before it
            window, failure = None, error
        if window is None:
            break
        pending.append((window, pool.submit(_encode, [_bare(statement, columns) for statement in window])))
        if len(pending) > ahead:
            yield _result(pending)
    while pending:
        yield _result(pending)
    if failure is not None:
        raise failure


def _bare(statement: Statement, columns: Sequence[str]) -> Statement:
    """Returns a statement without those values that workers do not need, and which may be large."""
    extra = {name: statement.extra[name] for name in columns if name in statement.extra}
    return Statement(statement.source, statement.target, statement.evidence, extra)


def _result(pending: deque[tuple[Window, Future[list[Batch]]]]) -> tuple[Window, list[Batch]]:
    window, batches = pending.popleft()
    return window, batches.result()


#: In a worker process: the encoder, and the rows of a batch.
_worker_settings: tuple[Encoder, int] | None = None


def _start_worker(encoder: Encoder, size: int) -> None:
    """Make this process a worker. It ignores Ctrl-C: the main process ends its workers."""
    global _worker_settings  # noqa: PLW0603  # an executor offers no other way to keep state in its processes
    _worker_settings = encoder, size
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _encode(window: Window) -> list[Batch]:
    assert _worker_settings is not None
    encoder, size = _worker_settings
    return list(window_batches(window, encoder, size=size))
