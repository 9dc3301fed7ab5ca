"""Finds the edges of BEL graphs in PyBEL's two forms: sbel (an edge per line) and nodelink (one object of all)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from stonkgs.errors import UserError
from stonkgs.indra.checks import check_characters, described, is_writable, text
from stonkgs.source.json_objects import beginning, excerpt
from stonkgs.source.split import END
from stonkgs.source.text.brackets import Container, containers
from stonkgs.source.text.cursor import Cursor
from stonkgs.source.text.items import Items, TextItems
from stonkgs.source.text.json_value import parse_json
from stonkgs.source.text.records import Lines, RawRecord, decoded
from stonkgs.source.text.signatures import HEAD, json_advice
from stonkgs.statement import UnusableError

#: The lists of a nodelink file, and what each holds. NetworkX names its links edges since 3.4.
LISTS = {"nodes": "nodes", "links": "links", "edges": "links"}
#: How many objects are looked into for these lists, where the outermost one has none.
MEMBERS = 16
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
        bel = text(node, "bel") if isinstance(node, dict) else node
        if isinstance(bel, str) and bel:
            check_characters(bel, role)
            return bel
        if not isinstance(node, dict):
            raise UnusableError(f"{role} is {described(node)}, not a node" if role in edge else f"no {role}")
        what = "a modifier whose node was lost" if "modifier" in node else "a node without bel"
        raise UnusableError(f"{role} is {what}")


class NodelinkEdges(Items, EdgeFinder):
    """Finds the edges of a nodelink file, which name their nodes by number.

    The constructor reads all nodes, which may stand before or behind the edges: the keys of JSON have no order. It
    raises UserError where it cannot number them. Nothing else of the file is held in memory.
    """

    def __init__(self, file: str, max_record: int, nodes: Container, links: Container) -> None:
        super().__init__(file, max_record, links)
        with closing(TextItems(file, max_record, nodes)) as items:
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


def edge_finder(file: str, max_record: int) -> EdgeFinder:
    """Returns the scanner for a file, by its content. Raises UserError where it has no BEL graph."""
    with closing(Lines(file, max_record)) as lines:
        form = _form(lines.cursor, max_record)
    if isinstance(form, int):
        return SbelEdges(file, max_record, form)
    return NodelinkEdges(file, max_record, *form)


def _form(cursor: Cursor, max_record: int) -> int | tuple[Container, Container]:
    """Returns where the edges of an sbel file start, or the nodes and links of a nodelink file.

    Raises UserError where it is neither.
    """
    head = beginning(cursor)
    if not head:
        return cursor.text
    start, lists, inner = cursor.end - len(head), dict[str, Container](), list[int]()
    for key, container in containers(cursor, start, max_record):
        if key in ("source", "target"):
            return cursor.text
        if key in ("pybel_version", "document_metadata"):
            cursor.seek(start)
            return cursor.next_line(start, END)
        if key in LISTS and container and container.kind == "[":
            lists.setdefault(LISTS[key], container)
        elif container and container.kind == "{":
            inner.append(container.start - 1)
        if len(lists) == 2:
            return lists["nodes"], lists["links"]
    if lists:
        (there,) = lists
        lost = "nodes" if there == "links" else "links"
        raise UserError(f"{cursor.file}: {there}, but no list of {lost}; if it is cut short, write it again")
    if found := _inner_lists(cursor, inner, max_record):
        return found
    advice = json_advice(head[:HEAD])
    if not advice or "source=bel" in advice:
        advice = "They come from PyBEL as .bel.jsonl or .bel.nodelink.json"
    raise UserError(f"{cursor.file}: holds no BEL graph: it starts with {excerpt(head)}. {advice}")


def _inner_lists(cursor: Cursor, starts: list[int], max_record: int) -> tuple[Container, Container] | None:
    """Returns the nodes and links of the first object of those at these offsets that has both, as in an answer."""
    for start in starts[:MEMBERS]:
        lists = {LISTS[key]: one for key, one in containers(cursor, start, max_record) if key in LISTS and one}
        if len(lists) == 2 and all(one.kind == "[" for one in lists.values()):
            return lists["nodes"], lists["links"]
    return None


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
    """Returns the BEL of a node. In PyBEL's umbrella form the node is its BEL."""
    try:
        node = parse_json(decoded(record))
        bel = text(node, "bel") if isinstance(node, dict) else node
    except UnusableError:
        return None
    return bel if isinstance(bel, str) and 0 < len(bel) <= LONGEST_NODE and is_writable(bel) else None
