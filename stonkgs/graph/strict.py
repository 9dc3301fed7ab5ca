"""Says whether the graph of a store leaves out the rows of a test, as far as the store tells."""

from collections.abc import Mapping
from typing import Final

from stonkgs.division import FILES, NAME, Division, same_part
from stonkgs.errors import printable
from stonkgs.kge.lineage import origin_of

#: Said of a published store, or one that was built of vectors from elsewhere.
UNKNOWN: Final = "the store does not say whether its graph holds rows that are tested here"
#: Said of a store whose graph leaves out no row for a test.
HOLDS: Final = "the store's graph leaves out no row for a test, and may hold rows that are tested here"


def doubt_of_graph(origin: str, now: Division, columns: Mapping[str, str]) -> str:
    """Say why the graph of a store with this origin may hold rows of the test `now`; empty if it leaves them out.

    `columns` says what the tested files call source, target and evidence.
    """
    without = origin_of(origin).get("without")
    if not isinstance(without, dict):
        return UNKNOWN
    earlier = without.get("division")
    if not isinstance(earlier, dict):
        return HOLDS
    if not same_part(earlier, now):
        name = printable(str(earlier.get(NAME)))[:200]
        return f"the store's graph leaves out other rows than those that are tested here: {name}"
    files = earlier.get(FILES)
    if not isinstance(files, list) or not all(file in files for file in now[FILES]):
        return "the store's graph leaves out the tested rows of another file than this one"
    by = str(now.get("by"))
    here = columns.get(by, by)
    if without.get("column") != here:
        there = printable(repr(without.get("column")))[:200]
        return f"the store's graph leaves out rows by groups of column {there}, and here they are of {here!r}"
    return ""
