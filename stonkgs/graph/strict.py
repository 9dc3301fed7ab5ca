"""Says whether the graph of a store leaves out the rows of a test, as far as the store tells."""

import json
from collections.abc import Mapping
from typing import Any, Final

from stonkgs.division import FILES, NAME, Division, same_part
from stonkgs.errors import printable

#: Said of a published store, or one that was built of vectors from elsewhere.
UNKNOWN: Final = "the store does not say whether its graph holds rows that are tested here"
#: Said of a store whose graph leaves out no row for a test.
HOLDS: Final = "the store's graph leaves out no row for a test, and may hold rows that are tested here"


def origin_of(text: str) -> Mapping[str, Any]:
    """Returns the origin of a store as JSON values; empty if it is damaged. It may be somebody else's."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def doubt_of_graph(origin: str, now: Division) -> str:
    """Say why the graph of a store with this origin may hold rows of the test `now`; empty if it leaves them out."""
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
    if without.get("own") is True or (isinstance(files, list) and all(file in files for file in now[FILES])):
        return ""
    return "the store's graph leaves out the tested rows of another file than this one"
