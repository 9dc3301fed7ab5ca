"""JSON Lines as a source: each line is an object."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import pyarrow as pa

from stonkgs.errors import UserError
from stonkgs.source.base import ROLES
from stonkgs.source.file import first_bytes
from stonkgs.source.split import END
from stonkgs.source.text.json_value import TOO_DEEP, check_surrogates, decode_json, is_too_deep
from stonkgs.source.text.records import Lines, RawRecord, TextSource, decoded
from stonkgs.source.text.signatures import HEAD, json_advice
from stonkgs.statement import Statement, UnusableError
from stonkgs.tables.columns import is_json, json_field
from stonkgs.tables.exact_json import Digits, decoder, exact_text

#: Number of records at the input's start that determine the columns and their types.
FIRST = 1000
#: Column for the rest: an object of keys without a column and of values that do not fit their column's type.
EXTRA = "extra"
#: A float64 holds every int up to here.
EXACT = 2**53

#: Arrow type -> kinds of values that it holds. A column gets the first type that holds all of its values.
FITS: dict[pa.DataType, frozenset[str]] = {
    pa.bool_(): frozenset({"bool"}),
    pa.int64(): frozenset({"int", "long"}),
    pa.float64(): frozenset({"int", "float"}),
    pa.string(): frozenset({"string"}),
}
#: Arrow type -> the Python type whose values all fit it.
SURE: dict[pa.DataType, type] = {pa.bool_(): bool, pa.float64(): float, pa.string(): str}
#: Python type -> kind of value; `kind` tells the sizes of whole numbers apart.
KINDS = {bool: "bool", float: "float", Digits: "big", str: "string", list: "list", dict: "object", type(None): "null"}


class JsonlSource(TextSource):
    """JSON Lines. The first records determine the columns; what does not fit them goes to the column `extra`."""

    def text(self, scanner: Lines) -> int:
        """Returns the offset of the first record. Raises UserError where the file is one JSON array."""
        start = super().text(scanner)
        first = next(iter(scanner.records(start, END)), None)
        if first and first.raw.lstrip().startswith(b"["):
            other = self.advice(scanner.cursor.file, [])
            advice = f". {other}" if other else "; write an object a line, for example with jq -c '.[]'"
            raise UserError(f"{scanner.cursor.file}: is a JSON array, not JSON Lines{advice}")
        return start

    def advice(self, file: str, names: Sequence[str]) -> str:
        """Returns which source reads the objects, where they are statements of INDRA or a BEL graph."""
        advice = json_advice(first_bytes(file, HEAD))
        return "" if advice.endswith("source=jsonl") else advice

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """Returns a column for each key of the first records. Mixed and nested values become JSON text."""
        if EXTRA in self.columns.values():
            raise UserError(f"source.columns: {EXTRA!r} is what JSONL keeps the rest in; rename the input's")
        kinds: dict[str, set[str]] = {}
        for record in self._first(files):
            for name, value in record.items():
                kinds.setdefault(name, set()).add(kind(value))
        kinds.pop(EXTRA, None)
        if not kinds:  # no records, or none that can be read: those are rejected one by one later
            kinds = {name: set() for name in self.columns.values()}
        return pa.schema([*(self._field(name, seen - {"null"}) for name, seen in kinds.items()), json_field(EXTRA)])

    def _field(self, name: str, kinds: set[str]) -> pa.Field:
        if name in self.columns.values():
            return pa.field(name, pa.string())
        fitting = [type_ for type_, fits in FITS.items() if kinds and kinds <= fits]
        return pa.field(name, fitting[0]) if fitting else json_field(name)

    def _first(self, files: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yields the objects among the first records of the files."""
        for record in islice(self._records(files), FIRST):
            try:
                value = parse_object(decoded(record))
            except UnusableError:
                continue
            yield value

    def _records(self, files: Sequence[str]) -> Iterator[RawRecord]:
        for file in files:
            with closing(self.scan(file)) as scanner:
                yield from scanner.records(self.text(scanner), END)

    def parser(self, schema: pa.Schema, scanner: Lines) -> Callable[[str], Statement]:
        """Returns a function that puts a record's values into the planned columns."""
        roles = [self.columns[role] for role in ROLES]
        fields = [field for field in schema if field.name not in roles and field.name != EXTRA]
        # A column of JSON text holds any value.
        columns = [(f.name, SURE.get(f.type), FITS[f.type]) if not is_json(f) else (f.name, None, None) for f in fields]

        def parse(text: str) -> Statement:
            record = parse_object(text)
            source, target, evidence = (_text(record, name) for name in roles)
            row: dict[str, Any] = {}
            misfits: dict[str, Any] = {}
            for name, sure, fits in columns:
                value = record.pop(name, None)
                if value is None or type(value) is sure:
                    row[name] = value
                elif fits is None:
                    row[name] = exact_text(value)
                elif kind(value) in fits:
                    row[name] = float(value) if sure is float else value
                else:
                    row[name], misfits[name] = None, value
            rest = _merged(record | misfits)
            row[EXTRA] = exact_text(rest) if rest else None
            return Statement(source, target, evidence, row)

        return parse


def kind(value: Any) -> str:
    """Returns the kind of a JSON value: one that FITS names, or one that only JSON text can hold."""
    if type(value) is int:
        return "int" if -EXACT <= value <= EXACT else "long" if -(2**63) <= value < 2**63 else "big"
    return KINDS[type(value)]


def _merged(rest: dict[str, Any]) -> dict[str, Any]:
    """Returns the rest with the keys of its own `extra` object, so that reading our own output does not nest it.

    Where both have a key of one name, `extra` stays an object within the rest, because neither value may be lost.
    """
    extra = rest.pop(EXTRA, None)
    if type(extra) is dict and not extra.keys() & rest.keys():
        return rest | extra
    return rest if extra is None else rest | {EXTRA: extra}


def _refuse(constant: str) -> None:
    raise UnusableError(f"{constant} is no JSON value")


_decode = decoder(_refuse)


def parse_object(text: str) -> dict[str, Any]:
    """Returns a record's object. Raises UnusableError where it is no object, or has what no file can hold."""
    value = decode_json(text, _decode)
    if type(value) is not dict:
        raise UnusableError(f"not an object but {_article(kind(value))}")
    if is_too_deep(text):
        raise UnusableError(TOO_DEEP)
    if "\\u" in text:
        check_surrogates(exact_text(value))
    return value


def _text(record: dict[str, Any], name: str) -> str:
    """Remove a role's text from the record and return it. Raises UnusableError where there is none."""
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
