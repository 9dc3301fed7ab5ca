"""Converts an INDRA statement's JSON to rows, one for each of its edges and evidences."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from stonkgs.config.values import check
from stonkgs.indra.checks import check_characters, described, finite_number, items, text, text_or_digits, whole
from stonkgs.indra.edges import Edge, Meaning, read_statement
from stonkgs.indra.matches import matches_hash, source_hash
from stonkgs.indra.plain import plain
from stonkgs.statement import Statement, UnusableError
from stonkgs.tables.columns import json_field
from stonkgs.tables.exact_json import NOT_FINITE, nearest_json

#: The columns of a row beside source, target and evidence.
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
#: What becomes of a Complex, which has no direction: no row, or an edge for each two of its members.
Complexes = Literal["skip", "pairs"]
#: The sentence that the first implementation gave an evidence without text.
NO_TEXT = "No evidence text."
#: The columns of an evidence that are null where the JSON has a value of another type.
_MAY_BE_ODD = ("source_api", "pmid", "context")
#: The most characters of all node names in one statement's rows: FREE, or GROWTH times the characters of its JSON if
#: that is more. Real statements stay far below.
FREE = 64 * 1024
GROWTH = 30
#: The most edges of one statement, each of which repeats all its evidences. A complex of ten members has 45 pairs.
MOST_EDGES = 46


class Skipped(NamedTuple):
    """A valid INDRA statement or evidence that gives no row."""

    #: one of a few fixed texts, by which they are counted
    reason: str


class Fault(NamedTuple):
    """An evidence that cannot be used. The other evidences of its statement still give rows."""

    reason: str


class Converter:
    """Converts the JSON of INDRA statements to rows.

    `missing_text="keep"` gives an evidence without text the sentence "No evidence text."; `complexes="pairs"` makes
    each two members of a complex an edge. "skip" leaves them out. Any other word raises UserError.
    """

    def __init__(self, *, missing_text: str = "skip", complexes: str = "skip") -> None:
        check("source.missing_text", missing_text, Literal["skip", "keep"])
        check("source.complexes", complexes, Complexes)
        self.missing_text = missing_text
        self.complexes = complexes

    def __call__(self, statement: Any, *, stmt_hash: int | None = None) -> Iterator[Statement | Skipped | Fault]:
        """Does what `from_json` does for a statement in memory, which may have numpy's numbers in it."""
        return self.from_json(plain(statement), stmt_hash=stmt_hash)

    def from_json(
        self, statement: Any, *, stmt_hash: int | None = None, made_null: Counter[str] | None = None
    ) -> Iterator[Statement | Skipped | Fault]:
        """Returns what gives no row, then the rows of an INDRA statement, by edge and then by evidence.

        `stmt_hash` is used where the JSON has no matches_hash. Raises UnusableError, before the first row, where the
        statement is invalid. An odd value beside a sound sentence is null: it costs no row, and `made_null` counts it.
        """
        if not isinstance(statement, dict):
            raise UnusableError(f"not an object but {described(statement)}")
        kind, meaning = read_statement(statement, pairs=self.complexes == "pairs")
        evidences = items(statement, "evidence")
        if isinstance(meaning, str):
            return iter([Skipped(meaning)])
        edges = _limited(meaning.edges, statement, len(evidences))
        if not evidences:
            return iter([Skipped("no evidence")])
        belief, nulls = finite_number(statement.get("belief", 1.0)), Counter[str]() if made_null is None else made_null
        if belief is None and statement["belief"] is not None:
            nulls["belief"] += 1
        shared = {"stmt_hash": _hash(statement, stmt_hash, meaning), "belief": belief, "stmt_type": kind}
        return self._rows(edges, shared, evidences, nulls)

    def _rows(
        self, edges: list[Edge], shared: dict[str, Any], evidences: list[Any], made_null: Counter[str]
    ) -> Iterator[Statement | Skipped | Fault]:
        sentences = []
        for number, evidence in enumerate(evidences, start=1):
            try:
                sentence, columns = self._sentence(evidence, made_null)
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

    def _sentence(self, evidence: Any, made_null: Counter[str]) -> tuple[str | None, dict[str, Any]]:
        """Returns an evidence's sentence and columns. Raises UnusableError where the sentence is invalid."""
        if not isinstance(evidence, dict):
            raise UnusableError(f"{described(evidence)}, not an object")
        if sentence := text(evidence, "text"):
            check_characters(sentence, "text")
        source_api, context = evidence.get("source_api"), evidence.get("context")
        encoded, constants = nearest_json(context) if context or isinstance(context, dict) else (None, 0)
        columns = {
            "source_api": text_or_digits(source_api) if isinstance(source_api, str) else None,
            "pmid": text_or_digits(evidence.get("pmid")),
            "source_hash": _source_hash(evidence),
            "context": encoded,
        }
        for name in _MAY_BE_ODD:
            if columns[name] is None and evidence.get(name):
                made_null[name] += 1
        if constants:
            made_null[NOT_FINITE] += constants
        return sentence, columns


def _limited(edges: Iterable[Edge], statement: Mapping[str, Any], evidences: int) -> list[Edge]:
    """Returns the edges as a list. Raises UnusableError where a small statement would give enormous rows."""
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
    """Returns the number of characters of the JSON."""
    try:
        return len(json.dumps(statement, default=str, skipkeys=True))  # in memory, annotations may hold anything
    except RecursionError as error:
        raise UnusableError("nested too deep") from error


def _hash(statement: Mapping[str, Any], other: int | None, meaning: Meaning) -> int:
    """Returns the hash in the JSON, else `other`, else the hash that INDRA would compute."""
    found = whole(statement.get("matches_hash"))
    if found is None:
        found = other
    return matches_hash(meaning.key()) if found is None else found


def _source_hash(evidence: Mapping[str, Any]) -> int | None:
    """Returns the hash in the JSON, None where it is absent or null; else the hash that INDRA would compute."""
    value = evidence.get("source_hash")
    found = whole(value)
    return source_hash(evidence) if found is None and value is not None else found


#: Keys of INDRA's JSON beside "type". A row with one of them and without source and target is a statement.
_AGENTS = ("subj", "obj", "enz", "sub", "agent", "gef", "gap", "ras", "members", "obj_from", "obj_to", "concept")
KEYS = frozenset(("evidence", "belief", "matches_hash", *_AGENTS))


def is_statement(row: Any) -> bool:
    """Returns whether a row is an INDRA statement, as INDRA's object or as JSON. Does not import INDRA."""
    if isinstance(row, Mapping):
        is_row = "source" in row or "target" in row
        return not is_row and isinstance(row.get("type"), str) and not KEYS.isdisjoint(row)
    modules = (kind.__module__.partition(".")[0] for kind in type(row).__mro__)
    return hasattr(row, "to_json") and "indra" in modules
