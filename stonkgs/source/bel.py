"""BEL graphs as a source, in PyBEL's two forms: sbel (an edge per line) and nodelink (one object of all)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from math import isfinite
from typing import Any

import pyarrow as pa

from stonkgs.errors import UserError
from stonkgs.indra.checks import described, mapping, text, whole
from stonkgs.indra.convert import NO_TEXT, Skipped
from stonkgs.source.base import ROLES
from stonkgs.source.file import line_at
from stonkgs.source.json_objects import Convert, JsonObjectSource, beginning, excerpt
from stonkgs.source.split import END
from stonkgs.source.text.brackets import Container, containers
from stonkgs.source.text.cursor import Cursor
from stonkgs.source.text.items import Items
from stonkgs.source.text.json_value import parse_json
from stonkgs.source.text.records import Lines, RawRecord, decoded
from stonkgs.statement import Statement, UnusableError
from stonkgs.tables.columns import json_field, json_text

#: The columns of a row beside source, target and evidence.
COLUMNS = pa.schema(
    [
        pa.field("relation", pa.string()),
        pa.field("pmid", pa.string()),
        pa.field("citation", pa.string()),
        pa.field("stmt_hash", pa.int64()),
        pa.field("belief", pa.float64()),
        pa.field("source_api", pa.string()),
        json_field("annotations"),
    ]
)
#: The most nodes of a nodelink file, because their BEL is held in memory.
MOST_NODES = 10_000_000
#: The most characters of a node's BEL in a nodelink file, because each edge repeats it by a short number.
LONGEST_NODE = 1 << 16


class EdgeFinder(Lines, ABC):
    """A scanner that finds the edges of a graph."""

    @abstractmethod
    def first(self) -> int:
        """Returns the offset of the first byte that may start an edge."""

    @abstractmethod
    def bel(self, edge: Mapping[str, Any], role: str) -> str:
        """Returns the BEL of an edge's source or target. Raises UnusableError where it has none."""


class SbelEdges(EdgeFinder):
    """Finds the edges of an sbel file: a line per edge, with both nodes. A line of metadata may come first."""

    def __init__(self, file: str, max_record: int, first: int) -> None:
        super().__init__(file, max_record)
        self._first = first

    def first(self) -> int:
        return self._first

    def bel(self, edge: Mapping[str, Any], role: str) -> str:
        node = edge.get(role)
        if not isinstance(node, dict):
            raise UnusableError(f"{role} is {described(node)}, not a node" if role in edge else f"no {role}")
        if not (bel := text(node, "bel")):
            what = "a modifier whose node was lost" if "modifier" in node else "a node without bel"
            raise UnusableError(f"{role} is {what}")
        return bel


class NodelinkEdges(Items, EdgeFinder):
    """Finds the edges of a nodelink file, which name their nodes by number.

    The constructor reads all nodes, and raises UserError where it cannot number them.
    """

    def __init__(self, file: str, max_record: int, nodes: Container, links: Container) -> None:
        super().__init__(file, max_record, links)
        with closing(Items(file, max_record, nodes)) as items:
            self.nodes = _nodes(items)

    def first(self) -> int:
        return self.container.start

    def bel(self, edge: Mapping[str, Any], role: str) -> str:
        number = edge.get(role)
        if type(number) is not int:
            raise UnusableError(f"{role} is {described(number)}, not a node's number" if role in edge else f"no {role}")
        if not 0 <= number < len(self.nodes):
            shown = number if abs(number) < 1 << 63 else "a huge number"
            raise UnusableError(f"{role} is {shown}, but there are {len(self.nodes)} nodes, from 0")
        if not (bel := self.nodes[number]):
            raise UnusableError(f"{role} is node {number}, which has no bel of 1 to {LONGEST_NODE} characters")
        return bel


class BelSource(JsonObjectSource):
    """Edges of BEL graphs in PyBEL's JSON, with a row for each edge that has an evidence.

    The content decides whether a file is read as sbel or nodelink. `missing_text` says whether an evidence without a
    sentence is skipped, or kept with the text "No evidence text.", which INDRA's export writes too.
    """

    def schema(self, files: Sequence[str]) -> pa.Schema:
        """Returns the columns, which are the same for every file."""
        return pa.schema([*((role, pa.string()) for role in ROLES), *COLUMNS])

    def scan(self, file: str) -> EdgeFinder:
        """Returns the scanner for a file, by its content. Raises UserError where it has no BEL graph."""
        with closing(Lines(file, self.max_record)) as lines:
            form = _form(lines.cursor, self.max_record)
        if isinstance(form, int):
            return SbelEdges(file, self.max_record, form)
        return NodelinkEdges(file, self.max_record, *form)

    def text(self, scanner: Lines) -> int:
        """Returns the offset past the metadata or the nodes."""
        assert isinstance(scanner, EdgeFinder)
        return scanner.first()

    def first_line(self, file: str) -> int:
        """Returns the line below the metadata; 1 for a nodelink file, which has no lines."""
        with closing(self.scan(file)) as scanner:
            return line_at(file, scanner.first()) if isinstance(scanner, SbelEdges) else 1

    def conversion(self, scanner: Lines) -> Convert:
        """Returns a function that converts an edge to one row, or to the reason why it is skipped."""
        assert isinstance(scanner, EdgeFinder)
        return lambda record: [self._row(parse_json(decoded(record)), scanner)]

    def _row(self, edge: Any, scanner: EdgeFinder) -> Statement | Skipped:
        """Returns an edge's row, or why a valid edge has none. Raises UnusableError where the edge is invalid."""
        if not isinstance(edge, dict):
            raise UnusableError(f"not an object but {described(edge)}")
        source, target = scanner.bel(edge, "source"), scanner.bel(edge, "target")
        columns = {"relation": text(edge, "relation"), **_citation(edge), **_annotations(edge)}
        if "evidence" not in edge:
            return Skipped("unqualified edge")
        sentence = text(edge, "evidence") or NO_TEXT
        if sentence == NO_TEXT and self.missing_text == "skip":
            return Skipped("evidence without text")
        return Statement(source, target, sentence, columns)


def _form(cursor: Cursor, max_record: int) -> int | tuple[Container, Container]:
    """Returns where the edges of an sbel file start, or the nodes and links of a nodelink file.

    Raises UserError where it is neither.
    """
    head = beginning(cursor)
    if not head:
        return cursor.text
    start, nodes = cursor.end - len(head), None
    for key, container in containers(cursor, start, max_record):
        if key in ("source", "target"):
            return cursor.text
        if key in ("pybel_version", "document_metadata"):
            cursor.seek(start)
            return cursor.next_line(start, END)
        if key == "nodes" and container and container.kind == "[":
            nodes = container
        elif key == "links" and nodes and container and container.kind == "[":
            return nodes, container
        elif key == "links" and not nodes:
            raise UserError(f"{cursor.file}: its links come before its nodes; write it again with PyBEL's to_nodelink")
    if nodes:
        raise UserError(f"{cursor.file}: no list of links behind its nodes; if it is cut short, write it again")
    raise UserError(
        f"{cursor.file}: holds no BEL graph: it starts with {excerpt(head)}. They come from PyBEL as .bel.jsonl or "
        ".bel.nodelink.json"
    )


def _nodes(items: Items) -> list[str | None]:
    """Returns the BEL of each node of a nodelink file, None where it has none that can be used.

    Raises UserError where the list is too long, or is damaged: then each later number would mean another node.
    """
    nodes: list[str | None] = []
    file = items.cursor.file
    for record in items.records(0, END):
        if record.problem:
            raise UserError(f"{file}, byte {record.offset}: in the list of nodes: {record.problem}; write it again")
        if len(nodes) == MOST_NODES:
            raise UserError(f"{file}: more than {MOST_NODES} nodes; write it as .bel.jsonl, with PyBEL's to_sbel")
        nodes.append(_node(record))
    return nodes


def _node(record: RawRecord) -> str | None:
    try:
        node = parse_json(decoded(record))
        bel = text(node, "bel") if isinstance(node, dict) else None
    except UnusableError:
        return None
    return bel if bel and len(bel) <= LONGEST_NODE else None


def _citation(edge: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns the columns `pmid` and `citation`."""
    citation = mapping(edge, "citation") or {}
    # Older releases of PyBEL call these keys type and reference.
    namespace = text(citation, "namespace" if "namespace" in citation else "type")
    identifier = citation.get("identifier" if "identifier" in citation else "reference")
    if isinstance(identifier, int) and whole(identifier) is not None:
        identifier = str(identifier)
    elif identifier is not None and not isinstance(identifier, str):
        raise UnusableError(f"the citation's identifier is {described(identifier)}, not a text")
    if not namespace or not identifier:
        return {"pmid": None, "citation": None}
    return {
        "pmid": identifier if namespace.lower() == "pubmed" else None,
        "citation": f"{namespace}:{identifier}",
    }


def _annotations(edge: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the column `annotations`, and three columns that INDRA's export keeps in it.

    In other graphs these names may mean something else. So a value of another type is null there, and is found in
    `annotations` only.
    """
    annotations = mapping(edge, "annotations")
    try:
        encoded = None if annotations is None else json_text(annotations)
    except ValueError as error:
        raise UnusableError("annotations has NaN or Infinity, which is no JSON") from error
    stmt_hash, belief, source_api = (_one(annotations or {}, key) for key in ("stmt_hash", "belief", "source_api"))
    return {
        "stmt_hash": whole(stmt_hash),
        "belief": _number(belief),
        "source_api": source_api if isinstance(source_api, str) else None,
        "annotations": encoded,
    }


def _one(annotations: Mapping[str, Any], key: str) -> Any:
    """Returns the value of {value: true} or of [{"namespace": key, "identifier": value}]; None for anything else."""
    values = annotations.get(key)
    if not isinstance(values, dict | list) or len(values) != 1:
        return None
    (value,) = values
    return value.get("identifier") if isinstance(value, dict) else value


def _number(value: Any) -> float | None:
    """Returns a finite number, from itself or from its digits; else None."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None
