"""Says what a store has grown from: a grown store has the nodes of an earlier one under their numbers, and more."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

#: The key of a grown store's origin.
GROWN: Final = "grown"


class Ancestor(NamedTuple):
    """A store that another has grown from."""

    digest: str
    nodes: int


class Lineage(NamedTuple):
    """The stores that one has grown from."""

    ancestors: tuple[Ancestor, ...]
    """The oldest first; empty for a store that was not grown."""
    legacy_node_shift: bool
    """Whether new vectors stand where models with `legacy_node_shift` read them."""

    def has(self, *, digest: str | None, nodes: int | None) -> bool:
        """Returns whether one of the stores has this digest and number of nodes. None is not known, and not asked."""
        asked = (digest, nodes)
        return asked != (None, None) and any(
            digest in (None, earlier.digest) and nodes in (None, earlier.nodes) for earlier in self.ancestors
        )


def origin_of(text: str) -> Mapping[str, Any]:
    """Returns the origin of a store as JSON values; empty if it is damaged. It may be somebody else's."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def lineage_of(origin: str) -> Lineage:
    """Read a store's origin. What is damaged or of another form names no ancestor: it may be somebody else's file."""
    try:
        grown = origin_of(origin)[GROWN]
        ancestors = tuple(Ancestor(str(one["digest"]), int(one["nodes"])) for one in grown["from"])
        shifted = grown["legacy_node_shift"] is True
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return Lineage((), False)
    if not all(re.fullmatch("[0-9a-f]{64}", one.digest) for one in ancestors):
        return Lineage((), False)
    return Lineage(ancestors, shifted)


def grown_origin(lineage: Lineage) -> dict[str, Any]:
    """Returns the JSON values from which `lineage_of` reads the lineage."""
    ancestors = [ancestor._asdict() for ancestor in lineage.ancestors]
    return {"from": ancestors, "legacy_node_shift": lineage.legacy_node_shift}
