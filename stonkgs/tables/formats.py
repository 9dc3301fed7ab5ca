"""Finds the formats in this folder."""

import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from inspect import isabstract

import stonkgs.tables
from stonkgs.tables.format import Format


@cache
def formats() -> Mapping[str, Format]:
    """Returns every format by its extension. A new module in this folder needs no registration."""
    return {kind.extension: kind() for kind in _kinds()}


def _kinds() -> Iterator[type[Format]]:
    for found in pkgutil.iter_modules(stonkgs.tables.__path__):
        module = import_module(f"stonkgs.tables.{found.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Format) and not isabstract(value):
                yield value
