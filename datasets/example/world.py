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
#: The numbers of a vector, and the nodes of a walk.
WIDTH, WALK = 64, 16


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
            inside = [start + draw.randrange(len(family)) for _ in range(4)]
            anywhere = [draw.randrange(len(names))] * (draw.random() < 0.15)
            edges[node, [start, *inside, *anywhere]] = 1
        start += len(family)
    np.fill_diagonal(edges, 0)
    return names, np.maximum(edges, edges.T)


def embed(edges: Floats) -> Floats:
    """Return node embeddings [N, WIDTH] by NetMF (Qiu et al. 2018, WSDM).

    They are singular vectors of the PPMI matrix of nodes that are up to 4 steps apart in random walks.
    """
    degrees = edges.sum(axis=1)
    step = edges / degrees[:, None]
    within = sum(np.linalg.matrix_power(step, length) for length in range(1, 5)) / 4
    ppmi = np.log(np.maximum(within / degrees * degrees.sum(), 1))
    left, values, _ = np.linalg.svd(ppmi)
    vectors = left[:, :WIDTH] * values[:WIDTH]
    # The sign of a singular vector depends on the library, so the largest entry is made positive.
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(WIDTH)])
    return np.asarray(vectors / np.sqrt((vectors**2).mean(axis=1, keepdims=True)))


def walk(edges: Floats, node: int, draw: random.Random) -> list[int]:
    """Draw a random walk of WALK nodes that starts at a node, and often starts over, so that it stays near."""
    path = [node]
    while len(path) < WALK:
        here = node if draw.random() < 0.3 else path[-1]
        neighbours = np.flatnonzero(edges[here])
        path.append(int(neighbours[draw.randrange(len(neighbours))]))
    return path


def graph_rows(families: Families, draw: random.Random) -> tuple[list[list[str]], list[list[str]]]:
    """Return the rows of the two files that the store is built from: a name and its vector, a name and its walk."""
    names, edges = draw_graph(families, draw)
    # Four decimals, because the last bits differ between machines.
    vectors = [[name, *(f"{x:.4f}" for x in row)] for name, row in zip(names, embed(edges), strict=True)]
    return vectors, [[name, *(names[n] for n in walk(edges, node, draw))] for node, name in enumerate(names)]


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
    """Write a TSV file, with quotes where they are needed. Returns its path."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(Row.__slots__)
        writer.writerows([getattr(row, name) for name in Row.__slots__] for row in rows)
    return path
