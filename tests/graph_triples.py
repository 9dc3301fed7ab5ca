"""Triples in memory, and graphs of them, for the tests of `stonkgs.graph`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from stonkgs.graph.build import Counts, build_graph
from stonkgs.graph.graph import Graph
from stonkgs.graph.leave_out import LeaveOut
from stonkgs.graph.reading import Reading, chosen
from stonkgs.kge.index import Scratch
from stonkgs.source.fingerprint import Fingerprint
from stonkgs.statement import Rejection, Statement

#: Source, relation, target.
Triple = tuple[str, str, str]


class Rows:
    """Triples that are read from no file."""

    relation: str | None = "relation"

    def __init__(self, rows: Iterable[Statement | Rejection], columns: Iterable[str] = ("source", "target")) -> None:
        self._rows, self.columns = list(rows), {*columns}
        self.files: list[Fingerprint] = []
        self.named: dict[str, str] = {}

    @classmethod
    def of(cls, triples: Sequence[Triple]) -> "Rows":
        return cls(Statement(source, target, "", {"relation": relation}) for source, relation, target in triples)

    def rows(self, counts: Counter[str]) -> Iterator[Statement | Rejection]:
        return iter(self._rows)

    def described(self) -> list[dict[str, Any]]:
        return []

    def check(self) -> None:
        return


def reading_of(rows: Rows, without: LeaveOut | None = None) -> Reading:
    return Reading(rows, chosen(rows, without or LeaveOut()))


def graph_of(triples: Sequence[Triple], scratch: Scratch) -> tuple[Graph, Counts]:
    return build_graph(reading_of(Rows.of(triples)), scratch)


def edges_of(graph: Graph) -> set[frozenset[str]]:
    """The edges by the names of their nodes."""
    return {
        frozenset((graph.name(node), graph.name(int(other))))
        for node in range(graph.nodes)
        for other in graph.neighbours[graph.starts[node] : graph.starts[node + 1]]
    }


def triples_of(graph: Graph) -> list[Triple]:
    """The triples by names."""
    return [
        (graph.name(source), graph.relations[relation], graph.name(target))
        for source, relation, target in graph.triples.tolist()
    ]
