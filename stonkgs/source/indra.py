"""INDRA statements as a source: EMMAA models, JSON Lines, INDRA DB's answers, dumps of INDRA DB and CoGEx."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final, Literal

import pyarrow as pa

from stonkgs.config.values import Count, checked
from stonkgs.errors import UserError
from stonkgs.indra.convert import COLUMNS, Complexes, Converter, Fault, Skipped
from stonkgs.source.base import ROLES, Limit
from stonkgs.source.file import Paths
from stonkgs.source.indra_forms import array_form, object_form, statements_of
from stonkgs.source.json_objects import Convert, JsonObjectSource, beginning, excerpt
from stonkgs.source.text.brackets import Container
from stonkgs.source.text.cursor import Cursor
from stonkgs.source.text.items import Items
from stonkgs.source.text.json_value import parse_json_fast
from stonkgs.source.text.quoted import Quoted, cutter
from stonkgs.source.text.records import Lines, RawRecord, decoded
from stonkgs.statement import OnRejected, Statement, UnusableError

#: Escape letter of PostgreSQL's COPY -> the character that it stands for.
_COPY_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class CopyDump(Lines):
    """Finds lines that PostgreSQL's COPY wrote: fields between tabs, the last one a statement with COPY's escapes."""


class CsvDump(Quoted):
    """Finds rows of a quoted TSV without a header, whose last field is a statement."""


class IndraSource(JsonObjectSource):
    """INDRA statements as JSON, with a row for each edge and each of its evidences.

    The content decides how a file is read: as an array, as JSON Lines, as objects of several lines each, as a
    dictionary of statements, as an answer of INDRA's REST services, or as a dump of INDRA DB or CoGEx. `missing_text`
    says whether an evidence without a sentence is skipped, or kept with the text "No evidence text." `complexes` says
    whether a Complex is skipped, or each pair of its members is an edge.
    """

    @checked("source")
    def __init__(
        self,
        *,
        path: Paths,
        missing_text: Literal["skip", "keep"] = "skip",
        complexes: Complexes = "skip",
        max_record: Count = 1 << 24,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(path=path, missing_text=missing_text, max_record=max_record, limit=limit)
        self.complexes = complexes

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """Returns the columns, which are the same for every file."""
        return pa.schema([*((role, pa.string()) for role in ROLES), *COLUMNS])

    def scan(self, file: str) -> Lines:
        """Returns the scanner for a file, by its content. Raises UserError where it has no INDRA statements."""
        with closing(Lines(file, self.max_record)) as lines:
            form = _form(lines.cursor, self.max_record)
        if isinstance(form, Container):
            return Items(file, self.max_record, form)
        if form is CsvDump:
            return CsvDump(file, self.max_record, "\t", "fetch the dump again")
        return form(file, self.max_record)

    def text(self, scanner: Lines) -> int:
        return scanner.container.start if isinstance(scanner, Items) else super().text(scanner)

    def statements(self, *, on_rejected: OnRejected | None = None) -> Iterator[Statement]:
        """Yields all rows, one at a time, for use without a run.

        Rows that cannot be used go to `on_rejected`, for example a list's append. Without it the first of them raises
        UserError.
        """
        for record in self:
            if isinstance(record, Statement):
                yield record
            elif on_rejected:
                on_rejected(record)
            else:
                at = f"{record.file}, byte {record.offset}"
                raise UserError(f"{at}: {record.reason}; mend it, or set such ones aside with on_rejected")

    def converter(self) -> Converter:
        """Returns what turns the JSON of a statement into rows."""
        return Converter(missing_text=self.missing_text, complexes=self.complexes)

    def conversion(self, scanner: Lines) -> Convert:
        """Returns a function that converts a statement by the rules of `stonkgs.indra`."""
        convert = partial(self.converter().from_json, made_null=scanner.made_null)
        cut = _STATEMENT_COLUMN.get(type(scanner))

        def rows(record: RawRecord) -> Iterator[Statement | Skipped | Fault]:
            if cut is None:
                value = parse_json_fast(record)
                several = statements_of(value, lines=not isinstance(scanner, Items))
                return convert(value) if several is None else _each(convert, several)
            text, stmt_hash = cut(decoded(record))
            return convert(parse_json_fast(record._replace(raw=text.encode())), stmt_hash=stmt_hash)

        return rows


def _each(
    convert: Callable[[Any], Iterator[Statement | Skipped | Fault]], statements: Iterator[Any]
) -> Iterator[Statement | Skipped | Fault]:
    """Converts the statements of one record. One that cannot be used costs none of the others."""
    for number, statement in enumerate(statements, start=1):
        try:
            yield from convert(statement)
        except UnusableError as error:
            yield Fault(f"statement {number}: {error}")


def _form(cursor: Cursor, max_record: int) -> Container | type[Lines]:
    """Returns where or how a file holds its statements. Raises UserError where it holds none."""
    head = beginning(cursor)
    start = cursor.end - len(head)
    if head[:1] == b"[":
        return array_form(cursor, start)
    if head[:1] == b"{":
        return object_form(cursor, start, max_record)
    if not head:
        return Lines
    if found := re.match(rb'[^\n{]*?\t("?)\{', head):
        return CsvDump if found[1] else CopyDump
    raise UserError(
        f"{cursor.file}: holds no INDRA statements: it starts with {excerpt(head)}. They come as a JSON array, as an "
        "object a line, as an answer of INDRA DB, or as its dumps"
    )


def _from_copy(text: str) -> tuple[str, int | None]:
    """Returns the statement and its hash, if any, from a line of COPY."""
    columns = text.split("\t")
    return _ESCAPE.sub(lambda escape: _COPY_ESCAPES.get(escape[1], escape[1]), columns[-1]), _hash(columns)


def _from_csv(text: str) -> tuple[str, int | None]:
    """Returns the statement and its hash, if any, from a row of quoted TSV."""
    columns = cutter("\t")(text)
    return columns[-1], _hash(columns)


def _hash(columns: Sequence[str]) -> int | None:
    """Returns the statement's hash, which is the first of two columns; of more, the first is a database id."""
    return int(columns[0]) if len(columns) == 2 and re.fullmatch(r"-?\d{1,18}", columns[0]) else None


#: Scanner -> what takes a statement out of its records, where these are not the JSON itself.
_STATEMENT_COLUMN: Final[dict[type[Lines], Callable[[str], tuple[str, int | None]]]] = {
    CopyDump: _from_copy,
    CsvDump: _from_csv,
}
