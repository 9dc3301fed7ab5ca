"""Statements as a plain computation in memory makes them, and the files of either side."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS

from stonkgs.writer.base import PredictionWriter
from stonkgs.writer.jsonl import JsonlWriter
from stonkgs.writer.parquet import ParquetWriter
from stonkgs.writer.tsv import TsvWriter

Row = dict[str, Any]
#: Makes a run's output_dir: see `run` of aggregate/conftest.py.
Run = Callable[..., Path]
KINDS: dict[str, type[PredictionWriter]] = {"parquet": ParquetWriter, "tsv": TsvWriter, "jsonl": JsonlWriter}
PASSED = ("source", "target", "stmt_type", "belief")
#: A column's name that a query, a list of names, and a TSV's header must not stumble over.
ODD = "a \"name\", with\ttab\nand 'quotes'"


def write(path: Path, rows: Sequence[Row] | pa.Table) -> Path:
    """Rows as the path's ending says, by the project's own writers."""
    with open(path, "wb") as file:
        KINDS[path.suffix[1:]]().write(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), file)
    return path


def read(path: Path) -> list[Row]:
    """Rows as other programs read them; a TSV's are texts."""
    if path.suffix == ".parquet":
        found: list[Row] = pq.read_table(path).to_pylist()
        return found
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t")) if path.suffix == ".tsv" else list(map(json.loads, file))


def plain(rows: Sequence[Row], by: Sequence[str], labels: Sequence[str] = LABELS, prefix: str = "") -> list[Row]:
    """One row a statement of one class, by lists in memory."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        if None not in key and "" not in key:
            groups.setdefault(key, []).append(row)
    return [statement(dict(zip(by, key, strict=True)), groups[key], labels, prefix) for key in sorted(groups)]


def statement(key: Row, group: list[Row], labels: Sequence[str], prefix: str) -> Row:
    made, means = key | {"evidences": len(group)}, {}
    for label in labels:
        values = [row[prefix + label] for row in group]
        means[label] = math.fsum(values) / len(values)
        made[f"{label}_noisy_or"] = 1 - math.prod(1 - value for value in values)
        made |= {f"{label}_mean": means[label], f"{label}_max": max(values)}
    made["prediction"] = max(means, key=means.__getitem__)
    for name in PASSED:
        if name in group[0] and name not in key:
            made[name] = min((row[name] for row in group if row[name] not in (None, "")), default=None)
    return made


def check_same(found: Sequence[Row], wanted: Sequence[Row]) -> None:
    """Equal rows, floats but for rounding."""
    assert len(found) == len(wanted)
    for row, other in zip(found, wanted, strict=True):
        assert list(row) == list(other)
        for name, value in other.items():
            close = pytest.approx(value, rel=1e-13, abs=1e-15) if isinstance(value, float) else value
            assert row[name] == close, name
