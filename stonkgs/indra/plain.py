"""Makes plain JSON of an INDRA statement in memory, whose numbers and texts may be numpy's or pandas'."""

from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

#: Levels of nesting that are looked at. What lies deeper is no part of a statement that can be read.
DEPTH = 200
#: The types of JSON, which are left as they are.
_PLAIN = frozenset((str, int, float, bool, type(None)))


def plain(value: Any, depth: int = 0) -> Any:
    """Returns a value with dictionaries, lists and Python's own scalars in the place of others that mean the same.

    A numpy array becomes a list, `np.float32(0.5)` becomes 0.5, and pandas' missing values become None. What has no
    counterpart in JSON is left as it is.
    """
    if type(value) in _PLAIN or depth > DEPTH:
        return value
    if isinstance(value, Mapping):
        return {key: plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return _from_library(value, depth)


def _from_library(value: Any, depth: int) -> Any:
    """Returns what an array, a scalar of numpy or torch, or another kind of number stands for."""
    if hasattr(value, "dtype") and callable(getattr(value, "tolist", None)):
        return plain(value.tolist(), depth + 1)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real | Decimal) else value
