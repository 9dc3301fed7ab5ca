"""Aggregates predictions of rows to one row per statement, which sums up all evidences for it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stonkgs.aggregate.statements import AggregateSummary, aggregate

__all__ = ["AggregateSummary", "aggregate"]


def __getattr__(name: str) -> Any:
    """Import the public names on first use: `--help` needs neither DuckDB nor Arrow."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("stonkgs.aggregate.statements"), name)
