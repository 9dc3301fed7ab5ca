"""Reads triples: from text files of three columns, or from the statements of any source.

A file's first line is a header where it names the two nodes' columns, in one of the ways of `HEADS`; its fields may be
quoted as in other TSV files with a header. Without a header each line is source, relation and target between tabs, and
quotes are ordinary characters.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from stonkgs.errors import UserError, printable
from stonkgs.graph.leave_out import columns_of
from stonkgs.source.base import ROLES, Reader, SplitRows
from stonkgs.source.file import expand
from stonkgs.source.fingerprint import Fingerprint, Watch
from stonkgs.source.split import END
from stonkgs.source.text.quoted import Quoted, cutter
from stonkgs.source.text.records import Lines, RawRecord, decoded
from stonkgs.statement import Rejection, Statement, UnusableError

#: How a header names the columns of source and target, in small letters.
HEADS: Final = (("source", "target"), ("subject", "object"), ("head", "tail"), ("from", "to"), ("h", "t"))
#: How a header names the column of the relation, in small letters.
RELATIONS: Final = ("relation", "predicate", "relationship", "rel", "edge", "r", "type")
#: The columns of a source that tell the relation: of most, and of INDRA statements.
SOURCE_RELATIONS: Final = ("relation", "stmt_type")
#: What is told of rows as pandas writes them without a header.
QUOTED: Final = "a name begins and ends with quotes, which belong to it in a file without a header"
#: The longest line of a file of triples, in bytes.
LONGEST: Final = 1 << 20


class Triples(Protocol):
    """Rows that state triples. They can be read several times."""

    @property
    def columns(self) -> set[str]:
        """The columns of each row; source, target and evidence go by these names."""

    @property
    def relation(self) -> str | None:
        """The column of `Statement.extra` that holds the relation; None if nothing does."""

    @property
    def files(self) -> list[Fingerprint]:
        """The files as they were when they were named."""

    @property
    def named(self) -> Mapping[str, str]:
        """What the files call source, target and evidence; "" where they have several names for it or no header."""

    def rows(self, counts: Counter[str]) -> Iterator[Statement | Rejection]:
        """Yields the rows. Counts in `counts` what to tell of them beside."""

    def described(self) -> list[dict[str, Any]]:
        """Returns name and size of each file, as JSON values."""

    def check(self) -> None:
        """Raises UserError where a file has changed since it was named."""


class _Form(NamedTuple):
    """How the lines of one file are to be read."""

    #: the columns by their positions; source, target and evidence go by these names, as relation does
    columns: tuple[str, ...]
    header: bool
    #: the fields of the first line
    first: tuple[str, ...]


class TripleFiles:
    """Triples in text files: plain, gzip or zstd. A line that is no triple is an error that names the line.

    Where a header names no column of the relation, all relations are "".
    """

    relation: str | None = "relation"

    def __init__(self, paths: Sequence[str]) -> None:
        self._watched = [Watch.of(file) for file in expand(list(paths))]
        self._forms = [_form(watch.path) for watch in self._watched]

    @property
    def columns(self) -> set[str]:
        """The columns that every file has."""
        return set.intersection(*({*form.columns, "relation"} for form in self._forms))

    @property
    def files(self) -> list[Fingerprint]:
        """The files as they were when they were named."""
        return [watch.fingerprint for watch in self._watched]

    @property
    def named(self) -> dict[str, str]:
        """What the files call source, target and evidence; "" where they have several names for it or no header."""
        found: dict[str, str] = {}
        for form in self._forms:
            for role in {*ROLES} & {*form.columns}:
                name = form.first[form.columns.index(role)] if form.header else ""
                found[role] = name if found.get(role, name) == name else ""
        return found

    def headers(self) -> Iterator[str]:
        """Yields of each file with a header what it is understood to say."""
        for watch, form in zip(self._watched, self._forms, strict=True):
            if form.header:
                said = [printable(repr(name)) for name in form.first]
                named = {role: said[form.columns.index(role)] for role in _shown(form)}
                yield f"{watch.path}: the first line names columns: " + ", ".join(f"{k} {v}" for k, v in named.items())

    def rows(self, counts: Counter[str]) -> Iterator[Statement]:
        """Yields a row for each line. Raises UserError with the first line that is no triple."""
        for watch, form in zip(self._watched, self._forms, strict=True):
            yield from _rows(watch.path, form, counts)

    def described(self) -> list[dict[str, Any]]:
        """Returns name and size of each file, as JSON values."""
        return [_described(watch) for watch in self._watched]

    def check(self) -> None:
        """Raises UserError where a file has changed since it was named."""
        for watch in self._watched:
            if grown := watch.check(thorough=True):
                watch.check_grown(grown, rows=False)


class SourceTriples:
    """The statements of a source as triples. Rows that cannot be read are passed on as rejections."""

    def __init__(self, reader: Reader) -> None:
        self.columns = columns_of(reader)
        self.relation = next((name for name in SOURCE_RELATIONS if name in self.columns), None)
        self.named = reader.source.columns
        self._reader = reader

    @property
    def files(self) -> list[Fingerprint]:
        """The files as they were when they were planned."""
        return [watch.fingerprint for watch in self._reader.watched.values()]

    def rows(self, counts: Counter[str]) -> Iterator[Statement | Rejection]:
        """Yields the rows of all splits in order."""
        for split in self._reader.plan:
            reading = SplitRows(self._reader.read(split))
            yield from reading
            for reason, count in reading.tally.without_row.items():
                counts[f"no row: {reason}"] += count

    def described(self) -> list[dict[str, Any]]:
        """Returns name and size of each file, as JSON values."""
        return [_described(watch) for watch in self._reader.watched.values()]

    def check(self) -> None:
        """Raises UserError where a file has changed since it was planned."""
        self._reader.grown()


def _described(watch: Watch) -> dict[str, Any]:
    return {"name": Path(watch.path).name, "bytes": watch.fingerprint.size}


def _form(file: str) -> _Form:
    """Decide by the first line how a file is to be read."""
    fields = tuple(_first_fields(file))
    small = [field.strip().lower() for field in fields]
    if (names := next((names for names in HEADS if {*names} <= {*small}), None)) is None:
        return _Form(("source", "relation", "target"), header=False, first=fields)
    relation = next((name for name in RELATIONS if name in small), None)
    roles = {names[0]: "source", names[1]: "target", "evidence": "evidence"} | (
        {relation: "relation"} if relation else {}
    )
    columns = tuple(roles.get(name, field) for name, field in zip(small, fields, strict=True))
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise UserError(f"{file}, line 1: more than one column is called {printable(repr(twice[0]))}; rename them")
    return _Form(columns, header=True, first=fields)


def _shown(form: _Form) -> Iterator[str]:
    return (role for role in ("source", "relation", "target") if role in form.columns)


def _first_fields(file: str) -> list[str]:
    with closing(Lines(file, LONGEST)) as lines:
        record = next(iter(lines.records(0, END)), None)
    if record is None:
        raise UserError(f"{file}: no triples; each line is source, relation and target, between tabs")
    return cutter("\t")(_decoded(file, record))


def _rows(file: str, form: _Form, counts: Counter[str]) -> Iterator[Statement]:
    scanner = Quoted(file, LONGEST, "\t", "write it without quotes and header") if form.header else Lines(file, LONGEST)
    cut, width = cutter("\t") if form.header else _plain, len(form.columns)
    make = _maker(form)
    with closing(scanner):
        records = iter(scanner.records(0, END))
        if form.header:
            next(records)
        for record in records:
            fields = cut(_decoded(file, record))
            if len(fields) != width:
                raise UserError(
                    f"{file}, line {record.line + 1}: {_misfit(len(fields), form)}; mend or remove the line"
                )
            if not form.header and (_is_quoted(fields[0]) or _is_quoted(fields[2])):
                counts[QUOTED] += 1
            yield make(fields)


def _maker(form: _Form) -> Callable[[Sequence[str]], Statement]:
    """Returns a function that makes a row of a line's fields."""
    at = {role: form.columns.index(role) for role in (*ROLES, "relation") if role in form.columns}
    source, target = at["source"], at["target"]
    others = [(name, place) for place, name in enumerate(form.columns) if name not in ROLES]
    unnamed = {} if "relation" in at else {"relation": ""}

    def make(fields: Sequence[str]) -> Statement:
        extra: Mapping[str, str] = {**unnamed, **{name: fields[place] for name, place in others}}
        return Statement(fields[source], fields[target], fields[at["evidence"]] if "evidence" in at else "", extra)

    return make


def _plain(text: str) -> list[str]:
    return text.split("\t")


def _is_quoted(name: str) -> bool:
    return len(name) > 1 and name[0] == name[-1] == '"'


def _misfit(found: int, form: _Form) -> str:
    fields = f"{found} field{'s' * (found != 1)}"
    if form.header:
        return f"{fields}, the header has {len(form.columns)}"
    return f"{fields}, and a triple is source, relation and target, between tabs"


def _decoded(file: str, record: RawRecord) -> str:
    try:
        text = decoded(record)
    except UnusableError as error:
        raise UserError(f"{file}, line {record.line + 1}: {error}; mend or remove the line") from error
    if "\0" in text:
        raise UserError(f"{file}, line {record.line + 1}: has a NUL byte; convert the file: iconv -f UTF-16 -t UTF-8")
    return text
