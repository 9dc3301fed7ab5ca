"""Processes that kill themselves at a file operation: before it, after it, or in the middle of it.

An operation is what changes a file or a folder below the folder that is watched. Its place is what it does to what,
for example `rename parts/N.tsv.tmp`: one place stands for all splits, processes and attempts. Python tells an audit
hook of each open, rename, link, removal and new folder before it happens. It tells of no write and no fsync, so those
two are wrapped: between them a file is made but empty, half written, or written and not yet on the disk.

What changes nothing on the disk is no operation. So "after an operation" is "before the next one", or the end.
"""

import builtins
import gc
import io
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any, NoReturn

#: Called with the place of each operation before it happens, and then, of a write, with what writes half of it.
See = Callable[[str, Callable[[], object] | None], object]

#: Names of the operations that Python tells of, by how Python calls them.
AUDITED = {
    "open": "open",
    "os.rename": "rename",
    "os.link": "link",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "os.rmdir": "rmdir",
    "os.truncate": "truncate",
}
#: Where the arguments of an operation hold the folder that its first path starts from.
FOLDER = {"os.rename": 2, "os.link": 2, "os.remove": 1, "os.mkdir": 2, "os.rmdir": 1}
#: What differs between two runs in the names of files -> what stands for it.
VARIABLE = {
    r"\.tmp-[\w-]+": ".tmp",
    r"\.gone-parts(-[0-9a-f]{8})?-\d+-[0-9a-f]{8}": "gone",
    r"parts-[0-9a-f]{8}": "parts",
    r"_process-[\w-]+": "_process",
    r"rated-\w+-[0-9a-f]+": "rated",
    r"\d{8}": "N",
    r"events\.out\.[\w.-]+": "events",
}


def watch(folder: Path, see: See) -> None:
    """From here on `see` is called before each operation below `folder`: never to be undone, so call it in a fork."""
    folder = folder.resolve()

    def place(operation: str, path: Path) -> str | None:
        path = Path(os.path.abspath(path))  # noqa: PTH100  # a link itself is meant, not where it points to
        if path != folder and folder not in path.parents:
            return None
        name = str(path.relative_to(folder))
        for variable, word in VARIABLE.items():
            name = re.sub(variable, word, name)
        return f"{operation} {name}"

    def audited(event: str, arguments: tuple[Any, ...]) -> None:
        if event in AUDITED and not (event == "open" and _reads(arguments)):
            path = _path(arguments[0], arguments[FOLDER[event]] if event in FOLDER else -1)
            if path is not None and (found := place(AUDITED[event], path)):
                see(found, None)

    class Watched(io.BufferedWriter):
        """A file whose writes are seen."""

        def write(self, data: Any, /) -> int:
            found = place("write", Path(os.fsdecode(self.name)))
            if found and len(view := memoryview(data).cast("B")):
                see(found, lambda: self.write_out(view[: len(view) // 2]))
            return super().write(data)

        def write_out(self, data: Any) -> None:
            super().write(data)
            self.flush()

    def opened(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        if mode in ("wb", "xb") and not isinstance(file, int) and place("write", Path(os.fsdecode(file))):
            return Watched(io.FileIO(file, mode))
        return whole_open(file, mode, *more, **options)

    def fsync(fd: Any) -> None:
        if found := place("fsync", Path(f"/proc/self/fd/{fd}").readlink()):
            see(found, None)
        whole_fsync(fd)

    whole_open, whole_fsync = builtins.open, os.fsync
    builtins.open = io.open = opened
    os.fsync = fsync
    sys.addaudithook(audited)


def _reads(arguments: tuple[Any, ...]) -> bool:
    """Whether an open changes nothing: neither the file nor the folder that it is in."""
    _, _, flags = arguments
    return not flags & (os.O_CREAT | os.O_TRUNC)


def _path(path: Any, folder: int) -> Path | None:
    """The path of an operation, None where it is an open file."""
    if isinstance(path, int) or path is None:
        return None
    start = Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path()
    return start / os.fsdecode(path)


def die() -> NoReturn:
    """End as a process does that the system ends: nothing is flushed, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process has outlived its end")


def in_fork(do: Callable[[], object], *, before: Callable[[], object]) -> int:
    """Do it in a fork, after what prepares its death: 0, 1 where it raises, minus the signal that has ended it."""
    gc.freeze()  # else the fork's first collection copies every page that holds an object
    if number := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    status = 1
    try:
        before()
        do()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:  # whatever happens: a fork that goes on would be a second test run
        os._exit(status)


def recorded(folder: Path, to: Path) -> Callable[[], None]:
    """To be called in a fork: it notes the places of all its operations in a file, a line each."""

    def before() -> None:
        handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        watch(folder, lambda place, half: os.write(handle, f"{place}\n".encode()))

    return before


def die_before(folder: Path, number: int, *, half: bool = False) -> Callable[[], None]:
    """To be called in a fork: it dies before its operation of this number, counted from 0, or in the middle of it."""

    def before() -> None:
        left = number

        def see(place: str, write_half: Callable[[], object] | None) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                if half and write_half:
                    write_half()
                die()

        watch(folder, see)

    return before


def die_before_the(folder: Path, place: str, number: int = 0) -> Callable[[], None]:
    """To be called in a fork: it dies before an operation of this place, the one of this number."""

    def before() -> None:
        left = number

        def see(seen: str, write_half: Callable[[], object] | None) -> None:
            nonlocal left
            left -= seen == place
            if left < 0:
                die()

        watch(folder, see)

    return before


class Deaths:
    """Where the attempts of one command have died, noted in a file. Each dies at the first place that is new.

    A place is new before it, after it, and in the middle of a write: so where the command is given again until nothing
    is new, and it comes to its end, each operation of all the attempts was died before, in and after.
    """

    def __init__(self, folder: Path, kept: Path, *, places: str = "") -> None:
        self.folder = folder
        self.kept = kept
        #: a pattern that finds something in the places that count
        self.places = re.compile(places)

    def all(self) -> list[tuple[str, str]]:
        """(before, half or after; a place) in the order of the deaths."""
        lines = self.kept.read_text().splitlines() if self.kept.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def __call__(self) -> None:
        """To be called in a fork."""
        known, last = set(self.all()), ""

        def once(moment: str, place: str, do: Callable[[], object] = lambda: None) -> None:
            if place and self.places.search(place) and (moment, place) not in known:
                handle = os.open(self.kept, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.write(handle, json.dumps([moment, place]).encode() + b"\n")
                do()
                die()

        def see(place: str, write_half: Callable[[], object] | None) -> None:
            nonlocal last
            once("after", last)
            once("before", place)
            if write_half:
                once("half", place, write_half)
            last = place

        watch(self.folder, see)


def covering(places: Sequence[str], wanted: Set[str]) -> list[int]:
    """Numbers of operations, few of them, such that who dies before each dies before and after each wanted place.

    To die before the operation of number n is to die after that of number n - 1. After the last one there is nothing.
    """
    found: set[int] = set()
    numbers: dict[str, list[int]] = {}
    for number, place in enumerate(places):
        if place in wanted:
            numbers.setdefault(place, []).append(number)
    for shift in (0, 1):
        for seen in numbers.values():
            if not found & {number + shift for number in seen}:
                found.add(seen[len(seen) // 2] + shift)
    return sorted(found - {len(places)})


def writing(places: Sequence[str], wanted: Set[str]) -> list[int]:
    """A number of each wanted place that is a write, the middle one."""
    numbers: dict[str, list[int]] = {}
    for number, place in enumerate(places):
        if place in wanted and place.startswith("write "):
            numbers.setdefault(place, []).append(number)
    return [seen[len(seen) // 2] for seen in numbers.values()]
