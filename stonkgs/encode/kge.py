"""`stonkgs.encode.kge.KgeStore`, as configurations name it."""

from stonkgs.kge.store import KgeStore

__all__ = ["KgeStore"]
