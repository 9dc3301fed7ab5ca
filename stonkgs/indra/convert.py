"""From an INDRA statement's JSON to rows: one for each of its edges and evidences."""

import json
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from stonkgs.config.values import check
from stonkgs.indra.checks import check_characters, described, items, mapping, text, whole
from stonkgs.indra.edges import Edge, Reading, read
from stonkgs.indra.matches import matches_hash
from stonkgs.statement import Statement, UnusableError
from stonkgs.tables.columns import json_field, json_text

#: A row's columns beside source, target and evidence.
COLUMNS = pa.schema(
    [
        pa.field("stmt_hash", pa.int64()),
        pa.field("belief", pa.float64()),
        pa.field("stmt_type", pa.string()),
        pa.field("source_api", pa.string()),
        pa.field("pmid", pa.string()),
        pa.field("source_hash", pa.int64()),
        json_field("context"),
    ]
)
#: What the first implementation read where an evidence has no text.
NO_TEXT = "No evidence text."
#: The names in an INDRA statement's rows may take so many characters,
FREE = 64 * 1024
#: or so many times those of its JSON: real ones take a fraction.
GROWTH = 30
#: Of an INDRA statement, each of which repeats all its evidences: one more than a complex of ten members has pairs.
MOST_EDGES = 46


class Skipped(NamedTuple):
    """An INDRA statement, or an evidence of one, that is sound but gives no row."""

    #: one of a few, whatever the input
    reason: str


class Fault(NamedTuple):
    """An evidence that is unusable; the others of its statement still give rows."""

    reason: str


class Converter:
    """INDRA statement JSON -> rows.

    `missing_text` "keep" gives an evidence without text the words "No evidence text."; `complexes` "pairs" makes each
    two members of a complex an edge. "skip" leaves either out. UserError for any other word.
    """

    def __init__(self, *, missing_text: str = "skip", complexes: str = "skip") -> None:
        check("source.missing_text", missing_text, Literal["skip", "keep"])
        check("source.complexes", complexes, Literal["skip", "pairs"])
        self.missing_text = missing_text
        self.complexes = complexes

    def __call__(self, statement: Any, *, stmt_hash: int | None = None) -> Iterator[Statement | Skipped | Fault]:
        """The rows of an INDRA statement, by edge and then by evidence, after what gives none.

        `stmt_hash` counts where the JSON has no matches_hash. UnusableError, before anything is given, where the
        statement is unsound.
        """
        if not isinstance(statement, dict):
            raise UnusableError(f"not an object but {described(statement)}")
        kind, reading = read(statement, pairs=self.complexes == "pairs")
        evidences = items(statement, "evidence")
        if isinstance(reading, str):
            return iter([Skipped(reading)])
        edges = _limited(reading.edges, statement, len(evidences))
        if not evidences:
            return iter([Skipped("no evidence")])
        shared = {"stmt_hash": _hash(statement, stmt_hash, reading), "belief": _belief(statement), "stmt_type": kind}
        return self._rows(edges, shared, evidences)

    def _rows(
        self, edges: list[Edge], shared: dict[str, Any], evidences: list[Any]
    ) -> Iterator[Statement | Skipped | Fault]:
        sentences = []
        for number, evidence in enumerate(evidences, start=1):
            try:
                sentence, columns = self._sentence(evidence)
            except UnusableError as error:
                yield Fault(f"evidence {number} of {len(evidences)}: {error}")
                continue
            if sentence or self.missing_text == "keep":
                sentences.append((sentence or NO_TEXT, columns))
            else:
                yield Skipped("evidence without text")
        for source, target in edges:
            for sentence, columns in sentences:
                yield Statement(source, target, sentence, shared | columns)

    def _sentence(self, evidence: Any) -> tuple[str | None, dict[str, Any]]:
        """An evidence's sentence, and the columns that are its own; UnusableError where it has none of that sort."""
        if not isinstance(evidence, dict):
            raise UnusableError(f"{described(evidence)}, not an object")
        columns = {
            "source_api": _text(evidence, "source_api"),
            "pmid": _pmid(evidence),
            "source_hash": _source_hash(evidence),
            "context": _context(evidence),
        }
        return _text(evidence, "text"), columns


def _limited(edges: Iterable[Edge], statement: Mapping[str, Any], evidences: int) -> list[Edge]:
    """The edges; UnusableError where a small INDRA statement would grow into rows without end."""
    made: list[Edge] = []
    size, allowed = 0, FREE
    for edge in edges:
        made.append(edge)
        if len(made) > MOST_EDGES:
            raise UnusableError(f"more than {MOST_EDGES} edges, each of which would repeat all its evidences")
        size += (len(edge[0]) + len(edge[1])) * max(evidences, 1)
        if size > allowed == FREE:
            allowed = max(FREE, GROWTH * _size(statement))
        if size > allowed:
            raise UnusableError(f"its rows would take over {GROWTH} times its size")
    return made


def _size(statement: Mapping[str, Any]) -> int:
    """Characters of the JSON."""
    try:
        return len(json.dumps(statement, default=str, skipkeys=True))  # in memory, annotations may hold anything
    except RecursionError as error:
        raise UnusableError("nested too deep") from error


def _hash(statement: Mapping[str, Any], other: int | None, reading: Reading) -> int:
    """The JSON's own, or the other, or the one that INDRA would give."""
    found = whole(statement.get("matches_hash"))
    if found is None:
        found = other
    return matches_hash(reading.key()) if found is None else found


def _belief(statement: Mapping[str, Any]) -> float | None:
    """1 where there is none; None where it is null or no finite number."""
    belief = statement.get("belief", 1.0)
    if isinstance(belief, float):  # of numpy, too, with which INDRA computes it
        return float(belief) if isfinite(belief) else None
    if belief is None:
        return None
    if type(belief) is not int:
        raise UnusableError(f"belief is {described(belief)}, not a number")
    try:
        return float(belief)
    except OverflowError:  # a whole number that no float is as large as
        return None


def _text(evidence: Mapping[str, Any], key: str) -> str | None:
    value: str | None = evidence.get(key)
    if value is None or (type(value) is str and value.isascii()):  # as nearly all of them
        return value
    if (value := text(evidence, key)) is not None:
        check_characters(value, key)
    return value


def _pmid(evidence: Mapping[str, Any]) -> str | None:
    """As text; some readers give a number."""
    value = evidence.get("pmid")
    if type(value) is int and whole(value) is not None:
        return str(value)
    return _text(evidence, "pmid")


def _source_hash(evidence: Mapping[str, Any]) -> int | None:
    value = evidence.get("source_hash")
    if value is None:
        return None
    found = whole(value)
    if found is None:
        raise UnusableError(f"source_hash is {described(value)}, not a whole number of 64 bits")
    return found


def _context(evidence: Mapping[str, Any]) -> str | None:
    """As JSON text."""
    value = mapping(evidence, "context")
    if value is None:
        return None
    try:
        encoded = json_text(value)
    except RecursionError as error:
        raise UnusableError("context is nested too deep") from error
    except (TypeError, ValueError) as error:
        raise UnusableError("context has NaN or another value that is no JSON") from error
    check_characters(encoded, "context")
    return encoded


#: What INDRA's JSON has beside "type", and no ordinary row without a source and a target.
_AGENTS = ("subj", "obj", "enz", "sub", "agent", "gef", "gap", "ras", "members", "obj_from", "obj_to", "concept")
_KEYS = frozenset(("evidence", "belief", "matches_hash", *_AGENTS))


def is_statement(row: Any) -> bool:
    """Whether a row in memory is an INDRA statement, an object of INDRA's or its JSON; INDRA is not imported."""
    if isinstance(row, Mapping):
        is_row = "source" in row or "target" in row
        return not is_row and isinstance(row.get("type"), str) and not _KEYS.isdisjoint(row)
    modules = (kind.__module__.partition(".")[0] for kind in type(row).__mro__)
    return hasattr(row, "to_json") and "indra" in modules
