"""Records how a training has divided its rows, and says where a later test may be of rows that were trained with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from stonkgs.errors import printable
from stonkgs.protocol import Protocol
from stonkgs.source.fingerprint import Fingerprint

#: One training's division, as JSON values: `Protocol.division`, and these.
Division = Mapping[str, Any]
#: The protocol in a line, for people; and the size and hash of each file.
NAME: Final = "name"
FILES: Final = "files"
#: Where it holds for tests of some files alone, because only the groups of their rows were left out: the same of these.
ONLY: Final = "only"
#: Which rows were left out for another reason than their part, as `where` and `pairs` of a pre-training say.
LEFT_OUT: Final = "left_out"


def division(protocol: Protocol, files: Sequence[Fingerprint]) -> dict[str, Any]:
    """Returns how `protocol` divides the rows of these files, for the model folder."""
    return {**protocol.division, NAME: protocol.name, FILES: [[file.size, file.ends] for file in files]}


def doubt(trained: Sequence[Division], now: Division, *, by_row: bool, tests_all: bool) -> str:
    """Say which earlier division does not keep the tested rows apart from those trained with; empty if all do.

    `now` is the division of the test. With `by_row` it is the same in all files, and else only in the same ones. A test
    of all rows (`tests_all`) is meant for other files than those trained with.
    """
    for earlier in trained:
        if tests_all and not _shared(earlier, now):
            continue
        if not _same(earlier, now, by_row=by_row):
            what = "rows of this very file" if _shared(earlier, now) else "other parts"
            name = printable(str(earlier.get(NAME)))[:200]
            return f"the model was trained with {what}, which may be tested here: {name}"
    return ""


def extended(earlier: Sequence[Division], now: Division) -> tuple[Division, ...]:
    """Returns the divisions of a model that was trained once more."""
    return (*(one for one in earlier if one != now), now)


def same_part(earlier: Division, now: Division) -> bool:
    """Returns whether two divisions that depend on a row alone test the same rows of any file."""
    return _same(earlier, now, by_row=True)


def _same(earlier: Division, now: Division, *, by_row: bool) -> bool:
    if ONLY in earlier and not _all_in(now[FILES], earlier[ONLY]):
        return False
    ignored = {NAME, ONLY, LEFT_OUT, *({FILES} if by_row else ())}
    return dict(_rest(earlier, ignored)) == dict(_rest(now, ignored))


def _rest(values: Division, ignored: set[str]) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in values.items() if key not in ignored)


def _shared(earlier: Division, now: Division) -> bool:
    """Returns whether both have a file in common."""
    files = earlier.get(FILES)
    return isinstance(files, list) and any(file in files for file in now[FILES])


def _all_in(files: Sequence[Any], known: Any) -> bool:
    return isinstance(known, list) and all(file in known for file in files)
