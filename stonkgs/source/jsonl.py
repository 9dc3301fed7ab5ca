"""JSON Lines: an object a line, plain or gzip."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import pyarrow as pa

from stonkgs.columns import is_json, json_field
from stonkgs.errors import UserError
from stonkgs.source.base import ROLES
from stonkgs.source.text import END, Record, TextSource, UnusableError
from stonkgs.statement import Statement

#: Columns and types are those of this many records at the input's start.
FIRST = 1000
#: The column of what has none: an object of later keys, and of values that their column's type cannot hold.
EXTRA = "extra"
#: Deeper values are refused. Python's own limit moves with the caller's stack, and so between two runs.
DEPTH = 200
#: Up to here a float64 holds every int.
EXACT = 2**53

#: What a column of each type holds; the first that holds all of a column's values is its type.
FITS: dict[pa.DataType, frozenset[str]] = {
    pa.bool_(): frozenset({"bool"}),
    pa.int64(): frozenset({"int", "long"}),
    pa.float64(): frozenset({"int", "float"}),
    pa.string(): frozenset({"string"}),
}
#: What needs no closer look.
SURE: dict[pa.DataType, type] = {pa.bool_(): bool, pa.float64(): float, pa.string(): str}
KINDS = {bool: "bool", float: "float", str: "string", list: "list", dict: "object", type(None): "null"}

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class JsonlSource(TextSource):
    """JSON Lines. Columns are planned from the first records; what does not fit them goes to the column `extra`."""

    def __init__(
        self, *, path: str | Sequence[str], columns: Mapping[str, str] | None = None, max_record: int = 1 << 20
    ) -> None:
        super().__init__(path=path, columns=columns, max_record=max_record)

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """A column a key of the first records, in the order seen; those of mixed or nested values hold JSON text."""
        if EXTRA in self.columns.values():
            raise UserError(f"source.columns: {EXTRA!r} is what JSONL keeps the rest in; rename the input's")
        kinds: dict[str, set[str]] = {}
        for record in self._first(files):
            for name, value in record.items():
                kinds.setdefault(name, set()).add(kind(value))
        kinds.pop(EXTRA, None)
        return pa.schema([*(self._field(name, seen - {"null"}) for name, seen in kinds.items()), json_field(EXTRA)])

    def _field(self, name: str, kinds: set[str]) -> pa.Field:
        if name in self.columns.values():
            return pa.field(name, pa.string())
        fitting = [type_ for type_, fits in FITS.items() if kinds and kinds <= fits]
        return pa.field(name, fitting[0]) if fitting else json_field(name)

    def _first(self, files: Sequence[str]) -> list[dict[str, Any]]:
        """The objects among the first records of the files; UserError where there is none."""
        objects, reasons = [], []
        for record in islice(self._records(files), FIRST):
            try:
                objects.append(parsed(_decoded(record)))
            except UnusableError as error:
                reasons.append(str(error))
        if not objects and reasons:
            raise UserError(f"{files[0]}: the first {len(reasons)} records cannot be read, the first: {reasons[0]}")
        if not objects:
            raise UserError(f"{files[0]}: holds no record; a JSONL file has an object a line")
        return objects

    def _records(self, files: Sequence[str]) -> Iterator[Record]:
        for file in files:
            with closing(self.scan(file)) as scanner:
                yield from scanner.records(0, END)

    def parser(self) -> Callable[[str], Statement]:
        """Values by the planned columns."""
        assert self.planned is not None
        roles = [self.columns[role] for role in ROLES]
        fields = [field for field in self.planned.schema if field.name not in roles and field.name != EXTRA]
        # JSON columns hold everything, as text
        columns = [(f.name, SURE.get(f.type), FITS[f.type]) if not is_json(f) else (f.name, None, None) for f in fields]

        def parse(text: str) -> Statement:
            record = parsed(text)
            source, target, evidence = (_text(record, name) for name in roles)
            row: dict[str, Any] = {}
            misfits: dict[str, Any] = {}
            for name, sure, fits in columns:
                value = record.pop(name, None)
                if value is None or type(value) is sure:
                    row[name] = value
                elif fits is None:
                    row[name] = _dumps(value)
                elif kind(value) in fits:
                    row[name] = float(value) if sure is float else value
                else:
                    row[name], misfits[name] = None, value
            rest = record | misfits
            row[EXTRA] = _dumps(rest) if rest else None
            return Statement(source, target, evidence, row)

        return parse


def kind(value: Any) -> str:
    """What sort of JSON value it is: a key of FITS' sets, or one that no plain column holds."""
    if type(value) is int:
        return "int" if -EXACT <= value <= EXACT else "long" if -(2**63) <= value < 2**63 else "big"
    return KINDS[type(value)]


def _decoded(record: Record) -> str:
    if record.problem:
        raise UnusableError(record.problem)
    try:
        return record.raw.decode()
    except UnicodeDecodeError as error:
        raise UnusableError("not UTF-8") from error


def parsed(text: str) -> dict[str, Any]:
    """The object that a record is; UnusableError where it is none, or none that can be written again."""
    too_deep = f"nested more than {DEPTH} deep"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnusableError(f"invalid JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise UnusableError(too_deep) from error
    except ValueError as error:
        raise UnusableError("a number of more digits than can be read") from error
    if type(value) is not dict:
        raise UnusableError(f"not an object but {_article(kind(value))}")
    if text.count("[") + text.count("{") > DEPTH and _depth(value) > DEPTH:
        raise UnusableError(too_deep)
    if "\\u" in text:
        _check_surrogates(value)
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _check_surrogates(value: dict[str, Any]) -> None:
    try:
        _dumps(value).encode()
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise UnusableError(f"half a surrogate pair, \\u{half:04x}, is no character") from error


def _text(record: dict[str, Any], name: str) -> str:
    """Take a role's text out of the record; UnusableError where there is none."""
    if name not in record:
        raise UnusableError(f"no {name!r}")
    value = record.pop(name)
    if value is None:
        raise UnusableError(f"{name!r} is null")
    if type(value) is not str:
        raise UnusableError(f"{name!r} is {_article(kind(value))}, not a string")
    return value


def _article(kind: str) -> str:
    if kind in ("int", "long", "big", "float"):
        return "a number"
    return {"null": "null", "bool": "true or false", "object": "an object"}.get(kind, f"a {kind}")
