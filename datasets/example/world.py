"""Draws the example's made-up world from a seed: a graph of real genes, and sentences about them."""

import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HERE = Path(__file__).resolve().parent
LABELS = ("incorrect", "correct")
#: The rows of each part.
ROWS = {"train": 3000, "test": 1000}
#: The share of statements whose sentence asserts something, and the share of those whose nodes are the right ones.
ASSERTED, GROUNDED = 0.7, 0.7


@dataclass(frozen=True, slots=True)
class Node:
    """A gene or process: its name in BEL, and its name in sentences."""

    name: str
    mention: str


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled statement; the fields are the columns of statements.tsv."""

    id: str
    source: str
    target: str
    evidence: str
    label: str
    part: str


#: family -> nodes: its process, then its genes
Families = dict[str, list[Node]]


def read_families(text: Any) -> Families:
    """Read the families. `text` is the content of text.yaml; genes keep the order of genes.tsv."""
    families = {name: [Node(entry["node"], entry["process"][0])] for name, entry in text["families"].items()}
    with open(HERE / "genes.tsv", encoding="utf-8", newline="") as file:
        for gene in csv.DictReader(file, delimiter="\t"):
            families[gene["family"]].append(Node(f"p(HGNC:{gene['hgnc']} ! {gene['symbol']})", gene["symbol"]))
    return families


# The graph. It lacks each family's last two genes, so that some statements have nodes that it does not know.


def draw_graph(families: Families, draw: random.Random) -> tuple[list[str], Floats]:
    """Draw the names [N] and the symmetric adjacency matrix [N, N]. Most edges are inside a family."""
    members = [family[:-2] for family in families.values()]
    names = [node.name for family in members for node in family]
    edges = np.zeros((len(names), len(names)))
    start = 0
    for family in members:
        for node in range(start, start + len(family)):
            inside = [start + draw.randrange(len(family)) for _ in range(8)]
            anywhere = [draw.randrange(len(names))] * (draw.random() < 0.15)
            edges[node, [start, *inside, *anywhere]] = 1
        start += len(family)
    np.fill_diagonal(edges, 0)
    return names, np.maximum(edges, edges.T)


def triples(families: Families, draw: random.Random) -> Iterator[list[str]]:
    """Yield the graph's edges as rows of triples.tsv: a header, then source, relation and target."""
    names, edges = draw_graph(families, draw)
    yield ["source", "relation", "target"]
    for source, target in zip(*np.nonzero(np.triu(edges)), strict=True):
        yield [names[source], "association", names[target]]


# The statements.


class Writer:
    """Draws statements. The sentence comes before its nodes, so it cannot show which of them are wrong."""

    def __init__(self, text: Any, families: Families, draw: random.Random) -> None:
        self.text, self.draw = text, draw
        friends = text["false_friends"]
        self.friends, self.topics = friends, [name for name in families if name not in friends]
        # A fourth of each family's genes, and one that the graph does not know, occur only in the test part.
        self.members = {}
        for name, (process, *genes) in families.items():
            for part in ROWS:
                own = [gene for n, gene in enumerate(genes) if (n % 4 == 3) == (part == "test")]
                self.members[name, part] = ([process], own[-1:], own[:-1])

    def choose(self, items: Sequence[Any]) -> Any:
        """Draw an item."""
        return items[self.draw.randrange(len(items))]

    def nodes(self, family: str, part: str, count: int) -> list[Node]:
        """Draw different nodes of a family: rarely a gene that the graph does not know, and as the second one sometimes
        its process.
        """
        process, unknown, known = self.members[family, part]
        chosen: list[Node] = []
        while len(chosen) < count:
            chance = self.draw.random()
            node = self.choose(unknown if chance < 0.01 else process if chance < 0.1 and len(chosen) == 1 else known)
            chosen += [node] * (node not in chosen)
        return chosen

    def sentence(self, family: str, a: Node, b: Node, c: Node) -> tuple[str, bool]:
        """Draw a sentence about three nodes. Returns it, and whether it asserts that `a` does something to `b`."""
        asserted = self.draw.random() < ASSERTED
        kind = "asserted" if asserted else self.choose(["negated", "hypothesised", "mentioned"])
        forms = dict(zip(("s", "base", "ed", "of"), self.choose(self.text["verbs"]), strict=True))
        process = self.choose(self.text["families"][family]["process"])
        names = {"a": a.mention, "b": b.mention, "c": c.mention}
        where = self.choose(self.text["where"])
        evidence = self.choose(self.text[kind]).format(**forms, **names, process=process, where=where)
        return evidence[0].upper() + evidence[1:], asserted

    def grounded(self, family: str, part: str, a: Node, b: Node) -> tuple[Node, Node, bool]:
        """Draw the nodes that a text miner finds for `a` and `b`. Returns them, and whether they are right."""
        if self.draw.random() < GROUNDED:
            return a, b, True
        c, d = self.nodes(self.choose(self.friends), part, 2)
        return *self.choose([(c, d), (c, d), (c, b), (a, d)]), False

    def row(self, part: str, number: int) -> Row:
        """Draw a statement."""
        family = self.choose(self.topics)
        a, b, c = self.nodes(family, part, 3)
        evidence, asserted = self.sentence(family, a, b, c)
        if (chance := self.draw.random()) < 0.01:
            where = self.choose(self.text["where"])
            evidence = " ".join([evidence, *(line.format(where=where) for line in self.text["background"])])
        elif chance < 0.015:
            evidence, asserted = "", False
        source, target, right = self.grounded(family, part, a, b)
        return Row(f"{part}-{number}", source.name, target.name, evidence, LABELS[asserted and right], part)


def draw_rows(writer: Writer) -> Iterator[Row]:
    """Draw ROWS statements of each part. No sentence occurs twice."""
    seen = set()
    for part, count in ROWS.items():
        number = 0
        while number < count:
            row = writer.row(part, number)
            if row.evidence not in seen:
                seen.add(row.evidence or row.id)
                number += 1
                yield row


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """Write statements to a TSV file. Returns its path."""
    return write_table(path, [Row.__slots__, *([getattr(row, name) for name in Row.__slots__] for row in rows)])


def write_table(path: Path, lines: Iterable[Sequence[str]]) -> Path:
    """Write a TSV file, with quotes where they are needed. Returns its path."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(lines)
    return path
