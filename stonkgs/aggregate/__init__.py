"""Aggregates predictions of rows to one row per statement, which sums up all evidences for it."""

from stonkgs.aggregate.statements import AggregateSummary, aggregate

__all__ = ["AggregateSummary", "aggregate"]
