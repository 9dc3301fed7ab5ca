"""Checks values by their annotations: the one place that says whether a key's value may be what it is.

`@checked("source")` does so for each call of a constructor, `read` for a configuration's own keys. An annotation is
int, float, bool, str, None, Literal, Annotated with `Range`, sequences and mappings of these, or a union; whatever else
one says is not looked at.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache, wraps
from inspect import Signature, signature
from reprlib import Repr
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from stonkgs.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

#: What is given back of a wrong value: as much as fits a line.
_shown = Repr()
_shown.maxstring = _shown.maxother = 80


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `least` on, up to `most`, or to below `below`."""

    least: float
    most: float = math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and value < self.below

    def __str__(self) -> str:
        if self.below < math.inf:
            return f"from {self.least:g} to below {self.below:g}"
        return f"from {self.least:g} to {self.most:g}" if self.most < MOST else f"of {self.least:g} or more"


#: Beyond any sensible count, and within what C's integers hold.
MOST = 2**31 - 1
#: A number of things, of which there is one at least; a number that may be 0; a share that is not all.
Count = Annotated[int, Range(1, MOST)]
Whole = Annotated[int, Range(0, MOST)]
Share = Annotated[float, Range(0, below=1)]


def checked(stage: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a constructor of a stage: UserError, with its key, for a value that its annotation does not admit."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            takes, hints = _interface(function)
            given = takes.bind_partial(*args, **kwargs).arguments
            for name, value in given.items():
                if name in hints:
                    check(f"{stage}.{name}", value, hints[name])
            return function(*args, **kwargs)

        return call

    return decorate


@cache
def _interface(function: Callable[..., Any]) -> tuple[Signature, dict[str, Any]]:
    return signature(function), get_type_hints(function, include_extras=True)


def read(cfg: "DictConfig", kind: type[T], prefix: str = "") -> T:
    """A configuration's keys as a dataclass, whose fields are their names and whose types what they may be.

    A field that is a dataclass itself is a group of keys. Raises UserError.
    """
    from omegaconf import OmegaConf

    values: dict[str, Any] = {}
    for name, annotation in get_type_hints(kind, include_extras=True).items():
        key = f"{prefix}{name}"
        if isinstance(annotation, type) and is_dataclass(annotation):
            values[name] = read(cfg, annotation, f"{key}.")
            continue
        value = OmegaConf.select(cfg, key)
        values[name] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        check(key, values[name], annotation)
    return kind(**values)


def check(key: str, value: object, annotation: Any) -> None:
    """UserError where the annotation does not admit the value."""
    if not _fits(value, annotation):
        given = value if isinstance(value, str) and len(value) < 80 else _shown.repr(value)
        raise UserError(f"{key}={given}: must be {' or '.join(_words(annotation))}")


def _fits(value: Any, annotation: Any) -> bool:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in _COMPOSED:
        return _COMPOSED[origin](value, parts)
    if annotation is float:
        return type(value) in (int, float) and math.isfinite(value)
    if annotation in (int, str, bool):  # true is no number, though Python says so
        return bool(type(value) is annotation)
    kind = origin or annotation
    return bool(kind is Any or not isinstance(kind, type) or isinstance(value, kind))


def _fits_one(value: Any, parts: Sequence[Any]) -> bool:
    return any(_fits(value, part) for part in parts)


def _fits_range(value: Any, parts: Sequence[Any]) -> bool:
    return _fits(value, parts[0]) and all(value in mark for mark in parts[1:] if isinstance(mark, Range))


def _fits_word(value: Any, parts: Sequence[Any]) -> bool:
    return any(type(value) is type(part) and value == part for part in parts)


def _fits_list(value: Any, parts: Sequence[Any]) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(_fits(item, parts[0]) for item in value)


def _fits_table(value: Any, parts: Sequence[Any]) -> bool:
    key, of = parts
    return isinstance(value, Mapping) and all(_fits(name, key) and _fits(value[name], of) for name in value)


#: What says more than a type -> whether a value is of its parts.
_COMPOSED: Final[Mapping[Any, Callable[[Any, Sequence[Any]], bool]]] = {
    Union: _fits_one,
    UnionType: _fits_one,
    Annotated: _fits_range,
    Literal: _fits_word,
    Sequence: _fits_list,
    list: _fits_list,
    Mapping: _fits_table,
}


def _words(annotation: Any) -> Iterator[str]:
    """What an annotation admits, in words; of a union each. Null is among a choice of words, else it goes unsaid."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        null = ", null" if NoneType in parts else ""
        for part in parts:
            yield from (word + null if get_origin(part) is Literal else word for word in _words(part))
    elif origin is Annotated:
        yield " ".join([*_words(parts[0]), *(str(mark) for mark in parts[1:] if isinstance(mark, Range))])
    elif origin is Literal:
        yield f"one of {', '.join(map(str, parts))}"
    elif origin in _NAMED or annotation in _NAMED:
        yield _NAMED[origin or annotation]


#: What types are called; None, and paths as Python has them, which in a yaml are texts, are left out.
_NAMED: Final[Mapping[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Sequence: "a list of texts, such as [a,b]",
    list: "a list of texts, such as [a,b]",
    Mapping: "a table, such as {a: b}",
}
