"""Says in one line what the machine refused to a run, what helps, and how to go on from what is kept."""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stonkgs.disk import explain_full_shm
from stonkgs.errors import UserError, refusal

#: torch's words for a worker process that has died.
_DEAD_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal|exited unexpectedly)")
#: torch's words where there is no memory: on a CPU, on a GPU.
_NO_MEMORY = re.compile(r"can't allocate memory|out of memory|not enough memory", re.IGNORECASE)


@contextmanager
def explained(workers: int, kept: Callable[[], str]) -> Iterator[None]:
    """Turn an error of the machine into a UserError: its disk, its memory, or one of the `workers` that it has ended.

    `kept` returns how to go on from what the run has kept, or "" where nothing is.
    """
    try:
        with explain_full_shm(workers):
            yield
    except Exception as error:
        if not (said := _explanation(error, workers)):
            raise
        raise UserError("; ".join(filter(None, [said, kept()]))) from error


def _explanation(error: Exception, workers: int) -> str:
    """Returns the error in words; "" where it is not the machine's."""
    if isinstance(error, UserError):  # already in words
        return str(error) if isinstance(error.__cause__, OSError) else ""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return _memory(workers)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        return _memory(workers)
    if isinstance(error, RuntimeError) and _DEAD_WORKER.search(str(error)):
        return "a worker process was killed, perhaps for want of memory: a smaller num_workers= needs less"
    return refusal(error)


def _memory(workers: int) -> str:
    fewer = " or num_workers=" if workers else ""
    return f"there is not enough memory: a smaller batch.size={fewer} needs less"
