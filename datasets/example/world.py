"""The example's made-up world: a graph of real genes, and what sentences say about them, all drawn from a seed."""

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
ROWS = {"train": 3000, "test": 1000}
#: Shares of the statements that assert something, and whose nodes are the right ones.
ASSERTED, GROUNDED = 0.7, 0.7
#: Numbers of a vector, and nodes of a walk.
WIDTH, WALK = 64, 16


@dataclass(frozen=True, slots=True)
class Node:
    """A gene or process: its name in BEL, and what sentences call it."""

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


Families = dict[str, list[Node]]


def read_families(text: Any) -> Families:
    """Each family's process, then its genes in the order of the file."""
    families = {name: [Node(entry["node"], entry["process"][0])] for name, entry in text["families"].items()}
    with open(HERE / "genes.tsv", encoding="utf-8", newline="") as file:
        for gene in csv.DictReader(file, delimiter="\t"):
            families[gene["family"]].append(Node(f"p(HGNC:{gene['hgnc']} ! {gene['symbol']})", gene["symbol"]))
    return families


# The graph. A family's last two genes are left out of it: statements may speak of what it does not know.


def draw_graph(families: Families, draw: random.Random) -> tuple[list[str], Floats]:
    """Names, and a symmetric adjacency matrix: mostly edges inside the families, and some between them."""
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
    """NetMF: the singular vectors of the PPMI matrix that windows of 4 on endless random walks tend to."""
    degrees = edges.sum(axis=1)
    step = edges / degrees[:, None]
    reach = sum(np.linalg.matrix_power(step, length) for length in range(1, 5)) / 4
    ppmi = np.log(np.maximum(reach / degrees * degrees.sum(), 1))
    left, values, _ = np.linalg.svd(ppmi)
    vectors = left[:, :WIDTH] * values[:WIDTH]
    # A singular vector's sign is the library's choice: its largest entry is made positive.
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(WIDTH)])
    return np.asarray(vectors / np.sqrt((vectors**2).mean(axis=1, keepdims=True)))


def walk(edges: Floats, node: int, draw: random.Random) -> list[int]:
    """A random walk of WALK nodes from a node on, that now and then starts over: it tells the neighbourhood."""
    path = [node]
    while len(path) < WALK:
        here = node if draw.random() < 0.3 else path[-1]
        neighbours = np.flatnonzero(edges[here])
        path.append(int(neighbours[draw.randrange(len(neighbours))]))
    return path


def graph_rows(families: Families, draw: random.Random) -> tuple[list[list[str]], list[list[str]]]:
    """A name and its vector a row, and a name and its walk a row: what the store is built from."""
    names, edges = draw_graph(families, draw)
    # Four decimals: a machine's last bits are not in the file.
    vectors = [[name, *(f"{x:.4f}" for x in row)] for name, row in zip(names, embed(edges), strict=True)]
    return vectors, [[name, *(names[n] for n in walk(edges, node, draw))] for node, name in enumerate(names)]


# The statements.


class Writer:
    """Draws statements. The sentence is complete before its nodes are drawn, so it cannot tell which are wrong."""

    def __init__(self, text: Any, families: Families, draw: random.Random) -> None:
        self.text, self.draw = text, draw
        friends = text["false_friends"]
        self.friends, self.topics = friends, [name for name in families if name not in friends]
        # A fourth of each family's genes, and one that the graph does not know, are the test part's alone.
        self.members = {}
        for name, (process, *genes) in families.items():
            for part in ROWS:
                own = [gene for n, gene in enumerate(genes) if (n % 4 == 3) == (part == "test")]
                self.members[name, part] = ([process], own[-1:], own[:-1])

    def choose(self, items: Sequence[Any]) -> Any:
        """One of them."""
        return items[self.draw.randrange(len(items))]

    def nodes(self, family: str, part: str, count: int) -> list[Node]:
        """Different nodes of a family, rarely a gene that the graph does not know, or as the second its process."""
        process, unknown, known = self.members[family, part]
        chosen: list[Node] = []
        while len(chosen) < count:
            chance = self.draw.random()
            node = self.choose(unknown if chance < 0.01 else process if chance < 0.1 and len(chosen) == 1 else known)
            chosen += [node] * (node not in chosen)
        return chosen

    def sentence(self, family: str, a: Node, b: Node, c: Node) -> tuple[str, bool]:
        """A sentence about three nodes, and whether it asserts that `a` does something to `b`."""
        asserted = self.draw.random() < ASSERTED
        kind = "asserted" if asserted else self.choose(["negated", "hypothesised", "mentioned"])
        forms = dict(zip(("s", "base", "ed", "of"), self.choose(self.text["verbs"]), strict=True))
        process = self.choose(self.text["families"][family]["process"])
        names = {"a": a.mention, "b": b.mention, "c": c.mention}
        where = self.choose(self.text["where"])
        evidence = self.choose(self.text[kind]).format(**forms, **names, process=process, where=where)
        return evidence[0].upper() + evidence[1:], asserted

    def grounded(self, family: str, part: str, a: Node, b: Node) -> tuple[Node, Node, bool]:
        """The nodes that a text miner has made of `a` and `b`, and whether they are right."""
        if self.draw.random() < GROUNDED:
            return a, b, True
        c, d = self.nodes(self.choose(self.friends), part, 2)
        return *self.choose([(c, d), (c, d), (c, b), (a, d)]), False

    def row(self, part: str, number: int) -> Row:
        """One statement."""
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
    """ROWS of each part; no sentence comes twice."""
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
    """A TSV with quotes where the csv dialect wants them."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(Row.__slots__)
        writer.writerows([getattr(row, name) for name in Row.__slots__] for row in rows)
    return path
