"""Keeps the address `stonkgs.encode.kge.KgeStore`, which older configurations name."""

from stonkgs.kge.store import KgeStore

__all__ = ["KgeStore"]
