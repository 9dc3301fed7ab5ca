"""Labelled rows in files of several kinds, with some that cannot be read, for the tests of what learns from them."""

import gzip
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import NODES

from stonkgs.protocol import Protocol
from stonkgs.source.base import Reader
from stonkgs.source.parquet import ParquetSource
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Statement
from stonkgs.train.selection import Selection
from stonkgs.train.task import Task, Unused

NAMES = ("source", "target", "evidence", "n", "label", "pmid")
KINDS = ("tsv", "gz", "parquet")
#: A record that no source can make a statement of.
BAD = None

Row = dict[str, Any]


def label(n: int) -> str:
    """Of row n: two classes, one of them under two names, and what is no class."""
    for divisor, rest, name in ((7, 3, ""), (11, 5, "up|down"), (13, 6, "odd"), (1000, 18, "rare"), (4, 1, "increase")):
        if n % divisor == rest:
            return name
    return "down" if n % 5 < 2 else "up"


LABELS = [label(n) for n in range(150)]
#: n -> class of the rows that are used
USED = {n: {"increase": "up"}.get(name, name) for n, name in enumerate(LABELS) if name in ("up", "down", "increase")}


def direction(**settings: Any) -> Task:
    """The task of the labels above."""
    return Task(name="direction", column="label", map={"increase": "up"}, ignore=["odd"], **settings)


def rows(labels: Sequence[str], first: int = 0) -> list[Row | None]:
    """A row a label, of different lengths, two to a pmid; in between some that cannot be read."""
    made: list[Row | None] = []
    for n, label in enumerate(labels, start=first):
        values = (NODES[n % 9], NODES[n % 7], f"sentence {n} " + "x" * (n * 7 % 13), n, label, f"{1000 + n // 2}")
        made += [BAD] * (n % 10 == 7) + [dict(zip(NAMES, values, strict=True))]
    return made


def write(path: Path, content: Iterable[Row | None]) -> Path:
    """As the kind that the path's suffix names."""
    if path.suffix == ".parquet":
        bad = dict.fromkeys(NAMES)
        columns = {name: [(bad if row is None else row)[name] for row in content] for name in NAMES}
        pq.write_table(pa.table(columns), path, row_group_size=7)
        return path
    lines = ["\t".join(NAMES), *("too\tfew" if row is None else "\t".join(map(str, row.values())) for row in content)]
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def planned(paths: Sequence[Path], split: int = 6) -> Reader:
    """What reads files of one kind, in splits of about so many rows."""
    kind = ParquetSource if paths[0].suffix == ".parquet" else TsvSource
    source = kind(path=[str(path) for path in paths])
    plan = source.plan(split)
    assert len(plan) > 3 * len(paths)
    return source.reader(plan)


def two_files(folder: Path, kind: str, labels: Sequence[str], split: int = 6) -> Reader:
    """The labels' rows in two files."""
    half = len(labels) // 2
    parts = (rows(labels[:half]), rows(labels[half:], half))
    return planned([write(folder / f"{number}.{kind}", part) for number, part in enumerate(parts)], split)


def statements(reader: Reader) -> list[list[Statement]]:
    """What can be read, by split."""
    return [[row for row in reader.read(split) if isinstance(row, Statement)] for split in reader.plan]


def selected(reader: Reader, task: Task, protocol: Protocol) -> Selection:
    """A selection as a census makes it, but without its checks."""
    values = [[task.values(statement) for statement in split] for split in statements(reader)]
    classes = task.decide(Counter(found for split in values for found in split if not isinstance(found, Unused)))
    counts = [
        sum(not isinstance(found, Unused) and classes.target(found) is not None for found in split) for split in values
    ]
    protocol.rows = sum(counts)
    return Selection(reader, task, protocol, classes, np.array([0, *accumulate(counts)][:-1], np.int64))
