"""A small BEL graph in each form in which PyBEL writes one, and what a source makes of it."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stonkgs.source.base import ROLES, Source, SplitRows
from stonkgs.statement import Rejection, Statement

Read = Callable[[Source, int], list[Statement | Rejection]]
Write = Callable[[list[Any]], bytes]

METADATA = {
    "pybel_version": "0.15.5",
    "document_metadata": {"name": "small {\\", "version": "1.0.0"},
    "namespace_url": {},
    "namespace_pattern": {"PUBCHEM": "\\d+"},
    "annotation_url": {},
    "annotation_pattern": {"Species": '.*"'},
    "annotation_list": {},
    "annotation_curie": [],
    "annotation_miriam": [],
}
NODES: list[dict[str, Any]] = [
    {
        "function": "Abundance",
        "concept": {"namespace": "CHEBI", "name": "β-Alanine"},
        "id": "48977ae271a16c0103a539fc2b6e1379",
        "bel": 'a(CHEBI:"β-Alanine")',
    },
    {
        "function": "BiologicalProcess",
        "concept": {"namespace": "GO", "name": "apoptotic process", "identifier": "0006915"},
        "id": "cd8b286c93ad12d4ea4fd3f6b4aebed7",
        "bel": 'bp(GO:0006915 ! "apoptotic process")',
    },
    {
        "function": "Protein",
        "concept": {"namespace": "HGNC", "name": "HIF1A", "identifier": "4910"},
        "id": "7fe1001daba7651ce967824e7c5f3ed8",
        "bel": "p(HGNC:4910 ! HIF1A)",
    },
]
BEL = [node["bel"] for node in NODES]
#: An edge with its nodes' numbers; the order of keys is PyBEL's.
EDGE: dict[str, Any] = {
    "relation": "increases",
    "evidence": 'HIF1A "raises" apoptosis {.',
    "citation": {"namespace": "pubmed", "identifier": "123"},
    "annotations": {
        "Species": [{"namespace": "Species", "identifier": "9606"}, {"namespace": "Species", "identifier": "10090"}],
        "stmt_hash": [{"namespace": "stmt_hash", "identifier": "-5"}],
    },
    "source": 2,
    "target": 1,
    "key": "1e74cd1bf2b8620929da747d85e38ad6",
}
#: As INDRA's export annotates it.
INDRA = EDGE | {
    "evidence": "β lowers.",
    "relation": "decreases",
    "citation": {"namespace": "other", "identifier": "reach:Unknown"},
    "annotations": {
        "stmt_hash": {"-2938528489200048": True},
        "uuid": {"6c3130ef-3631-4bc1-b0ab-574572a9702e": True},
        "belief": {"0.86": True},
        "source_hash": {"-8464379108517716543": True},
        "source_api": {"reach": True},
    },
    "source": 0,
}
PLAIN = {"relation": "correlation", "evidence": "They go together.", "source": 1, "target": 2, "key": 0}
IS_A = {"relation": "isA", "source": 2, "target": 0, "key": "0be5255accccca80914645c87a4848e8"}
GRAPH = [EDGE, IS_A, INDRA, PLAIN, IS_A]
NOTHING = dict.fromkeys(["pmid", "citation", "stmt_hash", "belief", "source_api", "source_hash", "annotations"])


def text(value: Any, *, compact: bool) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":") if compact else None)


def sbel(edges: list[Any]) -> bytes:
    """A line of metadata, then an edge a line; what is no edge of numbered nodes stands as it is."""
    lines = [text(edge if isinstance(edge, bytes) else whole(edge), compact=True) for edge in (METADATA, *edges)]
    return "".join(f"{line}\n" for line in lines).encode()


def whole(edge: Any) -> Any:
    if not isinstance(edge, dict) or "key" not in edge:
        return edge
    named = {role: _node(edge[role]) for role in ROLES[:2]}
    return {**named, "key": edge["key"], **{key: value for key, value in edge.items() if key not in named}}


def _node(place: Any) -> Any:
    """A node by its number; what is no node's number stands as it is."""
    return NODES[place] if type(place) is int and 0 <= place < len(NODES) else place


def nodelink(edges: list[Any], **changed: Any) -> bytes:
    graph = {"directed": True, "multigraph": True, "graph": METADATA, "nodes": NODES, "links": edges} | changed
    return text(graph, compact=False).encode()


def indented(edges: list[Any]) -> bytes:
    return json.dumps(json.loads(nodelink(edges)), indent=2).encode()


def ordered(edges: list[Any], indent: int | None = None) -> bytes:
    """With its keys in the order of the alphabet, so that the links come before the nodes."""
    graph = {**json.loads(nodelink([])), "links": edges}
    return json.dumps(dict(sorted(graph.items())), indent=indent, ensure_ascii=False).encode()


def networkx(edges: list[Any]) -> bytes:
    """With the name that NetworkX gives to links since 3.4: the first of their keys is the list's."""
    return nodelink(edges).replace(b'"links"', b'"edges"')


def umbrella(edges: list[Any]) -> bytes:
    """A node is its BEL, as PyBEL's to_umbrella_nodelink writes it."""
    return nodelink(edges, nodes=BEL)


#: The forms in which an edge names its nodes by number.
NUMBERED: dict[str, Write] = {
    "nodelink": nodelink,
    "indented": indented,
    "networkx": networkx,
    "links first": ordered,
    "links first, indented": lambda edges: ordered(edges, indent=2),
    "umbrella": umbrella,
    "in an answer": lambda edges: b'{"status": {"code": 200}, "data": ' + ordered(edges) + b', "took": [1]}\n',
}
FORMS: dict[str, Write] = {
    "sbel": sbel,
    "bare": lambda edges: sbel(edges).split(b"\n", 1)[1],
    **NUMBERED,
}
forms = pytest.mark.parametrize("form", FORMS)


def written(folder: Path, content: bytes) -> str:
    (folder / "graph.bel").write_bytes(content)
    return str(folder / "graph.bel")


def tallied(source: Source, rows: int) -> tuple[list[Statement | Rejection], Counter[str]]:
    """All records, with a rejection's index in its file, and how many edges gave no row."""
    records: list[Statement | Rejection] = []
    without, before = Counter[str](), 0
    reader = source.reader(source.plan(rows))
    for split in reader.plan:
        reading = SplitRows(reader.read(split))
        for record in reading:
            if isinstance(record, Rejection) and record.index is not None:
                record.index += before
            records.append(record)
        assert reading.tally.records is not None
        before += reading.tally.records
        without.update(reading.tally.without_row)
    return records, without
