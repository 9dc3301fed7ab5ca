"""Checks the values of keys against type annotations.

`@checked("source")` checks each call of a constructor, and `read_settings` the keys of a configuration. An annotation
may be int, float, bool, str, None, Literal, Annotated with `Range`, sequences and mappings of these, or a union. Values
with other annotations are not checked.
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

#: Shortens a wrong value for a message.
_shown = Repr()
_shown.maxstring = _shown.maxother = 80


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `least` to `most`, and less than `below`."""

    least: float
    most: float = math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most and value < self.below

    def __str__(self) -> str:
        if self.below < math.inf:
            return f"from {self.least:g} to below {self.below:g}"
        return f"from {self.least:g} to {self.most:g}" if self.most < MOST else f"of {self.least:g} or more"


#: More than any sensible count, and within a C integer.
MOST = 2**31 - 1
#: A whole number from 1; from 0; a fraction of less than 1.
Count = Annotated[int, Range(1, MOST)]
Whole = Annotated[int, Range(0, MOST)]
Fraction = Annotated[float, Range(0, below=1)]


def checked(stage: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates the constructor of a stage. It then raises UserError, with the key, for a value of the wrong type."""

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


def read_settings(cfg: "DictConfig", kind: type[T], prefix: str = "") -> T:
    """Returns the keys of a configuration as a dataclass `kind`, whose fields give their names and types.

    A field that is a dataclass itself is a group of keys. Raises UserError for a value of the wrong type.
    """
    from omegaconf import OmegaConf

    values: dict[str, Any] = {}
    for name, annotation in get_type_hints(kind, include_extras=True).items():
        key = f"{prefix}{name}"
        if isinstance(annotation, type) and is_dataclass(annotation):
            values[name] = read_settings(cfg, annotation, f"{key}.")
            continue
        value = OmegaConf.select(cfg, key)
        values[name] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        check(key, values[name], annotation)
    return kind(**values)


def check(key: str, value: object, annotation: Any) -> None:
    """Raises UserError, with the key and what it may be, where the value does not fit the annotation."""
    if not _fits(value, annotation):
        given = value if isinstance(value, str) and len(value) < 80 else _shown.repr(value)
        most = _most(annotation)
        over = type(value) in (int, float) and most is not None and value > most  # type: ignore[operator]
        bound = f", at most {most:,}" if over else ""
        raise UserError(f"{key}={given}: must be {' or '.join(_words(annotation))}{bound}")


def _most(annotation: Any) -> float | None:
    """Returns the upper bound that `Range` does not name, as nobody meets it who means what he gives."""
    marks = [mark for mark in get_args(annotation) if isinstance(mark, Range) and MOST <= mark.most < math.inf]
    inner = (_most(part) for part in get_args(annotation) if get_origin(part) is not None)
    return next((mark.most for mark in marks), None) or next(filter(None, inner), None)


def _fits(value: Any, annotation: Any) -> bool:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in _COMPOSED:
        return _COMPOSED[origin](value, parts)
    if annotation is float:
        return type(value) in (int, float) and math.isfinite(value)
    if annotation in (int, str, bool):  # exactly this type: in Python, True is an int
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


#: kind of annotation -> whether a value fits its parts
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
    """Yields in words what an annotation allows, of a union each part. Null is only named in a choice of words."""
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


#: type -> its name in messages; None and Path are not named
_NAMED: Final[Mapping[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Sequence: "a list of texts, such as [a,b]",
    list: "a list of texts, such as [a,b]",
    Mapping: "a table, such as {a: b}",
}
