"""BEL graphs as a source, in PyBEL's two forms: sbel (an edge per line) and nodelink (one object of all)."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from stonkgs.indra.checks import check_characters, described, text
from stonkgs.indra.convert import NO_TEXT, Skipped
from stonkgs.source.base import ROLES
from stonkgs.source.bel_columns import COLUMNS, edge_columns
from stonkgs.source.file import line_at
from stonkgs.source.json_objects import Convert, JsonObjectSource
from stonkgs.source.nodelink import EdgeFinder, SbelEdges, edge_finder
from stonkgs.source.text.json_value import parse_json
from stonkgs.source.text.records import Lines, decoded
from stonkgs.statement import Statement, UnusableError


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
        return edge_finder(file, self.max_record)

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
        if "evidence" not in edge:
            return Skipped("unqualified edge")
        sentence = text(edge, "evidence") or NO_TEXT
        check_characters(sentence, "evidence")
        if sentence == NO_TEXT and self.missing_text == "skip":
            return Skipped("evidence without text")
        return Statement(source, target, sentence, edge_columns(edge, scanner.made_null))
