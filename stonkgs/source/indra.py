"""INDRA statements in every form in which people have them: EMMAA models, INDRA DB answers and dumps, CoGEx dumps."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Final, Literal

import pyarrow as pa

from stonkgs.config.values import Count, checked
from stonkgs.errors import UserError
from stonkgs.indra.convert import COLUMNS, Converter, Fault, Skipped
from stonkgs.source.base import ROLES, Limit
from stonkgs.source.file import Paths
from stonkgs.source.objects import Convert, ObjectSource, beginning, excerpt
from stonkgs.source.text.brackets import Container, containers
from stonkgs.source.text.items import Items
from stonkgs.source.text.json_value import quickly
from stonkgs.source.text.quoted import Quoted, cutter
from stonkgs.source.text.records import Cursor, Lines, Record, decoded
from stonkgs.statement import OnRejected, Statement

#: What psql's COPY writes for a character.
_COPIED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Copied(Lines):
    """A line of psql's COPY each: columns between tabs, the last one a statement with COPY's escapes."""


class Table(Quoted):
    """A table without a header in the csv dialect, the last column a statement."""


class IndraSource(ObjectSource):
    """INDRA statements as JSON; a row for each edge and each of its evidences.

    The form is told by the content: an array, JSON Lines, an answer of INDRA DB's REST service, or a dump of INDRA DB
    or CoGEx. `missing_text` is what becomes of an evidence without a sentence: skip, or keep with the words of the
    first implementation. With `complexes="pairs"` the members of a Complex are paired; by its rules they give no row.
    """

    @checked("source")
    def __init__(
        self,
        *,
        path: Paths,
        missing_text: Literal["skip", "keep"] = "skip",
        complexes: Literal["skip", "pairs"] = "skip",
        max_record: Count = 1 << 24,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(path=path, missing_text=missing_text, max_record=max_record, limit=limit)
        self.complexes = complexes

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """The same for every file."""
        self.converter()
        return pa.schema([*((role, pa.string()) for role in ROLES), *COLUMNS])

    def converter(self) -> Converter:
        """What turns a statement into rows; UserError where a setting is wrong."""
        return Converter(missing_text=self.missing_text, complexes=self.complexes)

    def scan(self, file: str) -> Lines:
        """What finds the statements in a file of its form; UserError where it is of none."""
        with closing(Lines(file, self.max_record)) as lines:
            form = _form(lines.cursor, self.max_record)
        if isinstance(form, Container):
            return Items(file, self.max_record, form)
        if form is Table:
            return Table(file, self.max_record, "\t", "fetch the dump again")
        return form(file, self.max_record)

    def text(self, scanner: Lines) -> int:
        return scanner.container.start if isinstance(scanner, Items) else super().text(scanner)

    def statements(self, *, on_rejected: OnRejected | None = None) -> Iterator[Statement]:
        """All rows, one at a time, for who needs no run.

        What cannot be used goes to `on_rejected`, for example a list's append, and the rest goes on; without it, that
        is a UserError.
        """
        for record in self:
            if isinstance(record, Statement):
                yield record
            elif on_rejected:
                on_rejected(record)
            else:
                at = f"{record.file}, byte {record.offset}"
                raise UserError(f"{at}: {record.reason}; mend it, or set such ones aside with on_rejected")

    def conversion(self, scanner: Lines) -> Convert:
        """By the rules of the first implementation."""
        convert, cut = self.converter(), _CUTS.get(type(scanner))

        def rows(record: Record) -> Iterator[Statement | Skipped | Fault]:
            if cut is None:
                return convert(quickly(record))
            text, stmt_hash = cut(decoded(record))
            return convert(quickly(record._replace(raw=text.encode())), stmt_hash=stmt_hash)

        return rows


def _form(cursor: Cursor, max_record: int) -> Container | type[Lines]:
    """How a file holds its statements, by its start; UserError where it holds none."""
    head = beginning(cursor)
    start = cursor.end - len(head)
    if head[:1] == b"[":
        return Container("[", start + 1, outermost=True)
    if head[:1] == b"{":
        return _object(cursor, start, max_record)
    if not head:
        return Lines
    if found := re.match(rb'[^\n{]*?\t("?)\{', head):
        return Table if found[1] else Copied
    raise UserError(
        f"{cursor.file}: holds no INDRA statements: it starts with {excerpt(head)}. They come as a JSON array, as an "
        "object a line, as an answer of INDRA DB, or as its dumps"
    )


def _object(cursor: Cursor, start: int, max_record: int) -> Container | type[Lines]:
    """An answer of INDRA DB, {"statements": {hash: statement}}; else each line is a statement."""
    for key, container in containers(cursor, start, max_record):
        if key == "statements" and container:
            return container
        if key == "type":
            break
    return Lines


def _copied(text: str) -> tuple[str, int | None]:
    """The last column of COPY's line, without COPY's escapes."""
    columns = text.split("\t")
    return _ESCAPE.sub(lambda escape: _COPIED.get(escape[1], escape[1]), columns[-1]), _hash(columns)


def _table(text: str) -> tuple[str, int | None]:
    columns = cutter("\t")(text)
    return columns[-1], _hash(columns)


def _hash(columns: Sequence[str]) -> int | None:
    """The first of two columns is the statement's hash; of more it is some number of the database."""
    return int(columns[0]) if len(columns) == 2 and re.fullmatch(r"-?\d{1,18}", columns[0]) else None


#: How a record's JSON is had, where it is not the record itself.
_CUTS: Final[dict[type[Lines], Callable[[str], tuple[str, int | None]]]] = {Copied: _copied, Table: _table}
