"""JSON Lines: an object a line."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

import pyarrow as pa

from stonkgs.config.values import Count
from stonkgs.errors import UserError
from stonkgs.source.base import ROLES, Limit
from stonkgs.source.file import Paths
from stonkgs.source.split import END
from stonkgs.source.text.json_value import DEPTH, TOO_DEEP, check_surrogates, told
from stonkgs.source.text.records import Lines, Record, TextSource, decoded
from stonkgs.statement import Statement, UnusableError
from stonkgs.tables.columns import is_json, json_field, json_text

#: Columns and types are those of this many records at the input's start.
FIRST = 1000
#: The column of what has none: an object of later keys, and of values that their column's type cannot hold.
EXTRA = "extra"
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
KINDS = {bool: "bool", float: "float", Decimal: "big", str: "string", list: "list", dict: "object", type(None): "null"}


class JsonlSource(TextSource):
    """JSON Lines. Columns are planned from the first records; what does not fit them goes to the column `extra`."""

    def __init__(
        self,
        *,
        path: Paths,
        columns: Mapping[str, str] | None = None,
        max_record: Count = 1 << 20,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(path=path, columns=columns, max_record=max_record, limit=limit)

    def text(self, scanner: Lines) -> int:
        """As for all text; UserError where the file is one JSON array, of which no line is an object."""
        start = super().text(scanner)
        first = next(iter(scanner.records(start, END)), None)
        if first and first.raw.lstrip().startswith(b"["):
            raise UserError(
                f"{scanner.cursor.file}: is a JSON array, not JSON Lines; write an object a line, "
                "for example with jq -c '.[]'"
            )
        return start

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """A column a key of the first records, in the order seen; those of mixed or nested values hold JSON text."""
        if EXTRA in self.columns.values():
            raise UserError(f"source.columns: {EXTRA!r} is what JSONL keeps the rest in; rename the input's")
        kinds: dict[str, set[str]] = {}
        for record in self._first(files):
            for name, value in record.items():
                kinds.setdefault(name, set()).add(kind(value))
        kinds.pop(EXTRA, None)
        if not kinds:  # a night without news, or nothing that can be read: the rows, if any, are rejected one by one
            kinds = {name: set() for name in self.columns.values()}
        return pa.schema([*(self._field(name, seen - {"null"}) for name, seen in kinds.items()), json_field(EXTRA)])

    def _field(self, name: str, kinds: set[str]) -> pa.Field:
        if name in self.columns.values():
            return pa.field(name, pa.string())
        fitting = [type_ for type_, fits in FITS.items() if kinds and kinds <= fits]
        return pa.field(name, fitting[0]) if fitting else json_field(name)

    def _first(self, files: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The objects among the first records of the files, one at a time."""
        for record in islice(self._records(files), FIRST):
            try:
                value = parsed(decoded(record))
            except UnusableError:
                continue
            yield value

    def _records(self, files: Sequence[str]) -> Iterator[Record]:
        for file in files:
            with closing(self.scan(file)) as scanner:
                yield from scanner.records(self.text(scanner), END)

    def parser(self, schema: pa.Schema) -> Callable[[str], Statement]:
        """Values by the planned columns."""
        roles = [self.columns[role] for role in ROLES]
        fields = [field for field in schema if field.name not in roles and field.name != EXTRA]
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
            rest = _merged(record | misfits)
            row[EXTRA] = _dumps(rest) if rest else None
            return Statement(source, target, evidence, row)

        return parse


def kind(value: Any) -> str:
    """What sort of JSON value it is: a key of FITS' sets, or one that no plain column holds."""
    if type(value) is int:
        return "int" if -EXACT <= value <= EXACT else "long" if -(2**63) <= value < 2**63 else "big"
    return KINDS[type(value)]


def _merged(rest: dict[str, Any]) -> dict[str, Any]:
    """What the input itself keeps in `extra` beside the rest, so that our own output nests no deeper when it is read.

    Where a name is in both, neither can be given up: then `extra` stays a value of its own.
    """
    extra = rest.pop(EXTRA, None)
    if type(extra) is dict and not extra.keys() & rest.keys():
        return rest | extra
    return rest if extra is None else rest | {EXTRA: extra}


def _dumps(value: Any) -> str:
    """JSON text of what `parsed` gives, every number as exact as it was."""
    try:
        return json_text(value)
    except TypeError:  # a Decimal somewhere in it, which is rare
        if type(value) is dict:
            return "{" + ",".join(f"{json_text(key)}:{_dumps(item)}" for key, item in value.items()) + "}"
        return "[" + ",".join(map(_dumps, value)) + "]" if type(value) is list else str(value)


def _number(text: str) -> float | Decimal:
    """A number as the float that it is; the few that are none, such as 1e999, as their decimals."""
    value = float(text)
    # Up to 15 digits are always exact, and repr is what costs.
    if (len(text) < 17 and "e" not in text and "E" not in text) or repr(value) == text:
        return value
    try:
        exact = Decimal(text)
    except InvalidOperation as error:
        raise UnusableError("a number of more digits than can be read") from error
    return value if exact == Decimal(repr(value)) else exact


def _constant(text: str) -> None:
    raise UnusableError(f"{text} is no JSON value")


# No object_pairs_hook: to find a key that is there twice would cost an eighth of the speed. The last of them counts.
_decoder = json.JSONDecoder(parse_float=_number, parse_constant=_constant)


def _decode(text: str) -> Any:
    """What `_decoder.decode` gives, without its search for blanks around the value, of which there are rarely any."""
    try:
        value, end = _decoder.raw_decode(text)
    except json.JSONDecodeError:
        return _decoder.decode(text)
    return value if end == len(text) else _decoder.decode(text)


def parsed(text: str) -> dict[str, Any]:
    """The object that a record is; UnusableError where it is none, or none that can be written again."""
    value = told(text, _decode)
    if type(value) is not dict:
        raise UnusableError(f"not an object but {_article(kind(value))}")
    if text.count("[") + text.count("{") > DEPTH and _depth(value) > DEPTH:
        raise UnusableError(TOO_DEEP)
    if "\\u" in text:
        check_surrogates(_dumps(value))
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


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
