"""Statements as a plain computation in memory makes them, and the files of either side."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS

from stonkgs.cli import one_line
from stonkgs.cli.aggregate import main
from stonkgs.errors import UserError
from stonkgs.writer.base import PredictionWriter
from stonkgs.writer.jsonl import JsonlWriter
from stonkgs.writer.parquet import ParquetWriter
from stonkgs.writer.tsv import TsvWriter

Row = dict[str, Any]
ROWS: list[Row] = [{"stmt_hash": n // 2, "source": f"s{n}", "incorrect": 0.25, "correct": 0.75} for n in range(6)]
#: Makes a run's output_dir: see `run` of aggregate/conftest.py.
Run = Callable[..., Path]
KINDS: dict[str, type[PredictionWriter]] = {"parquet": ParquetWriter, "tsv": TsvWriter, "jsonl": JsonlWriter}
NODES = ("source", "target")
PASSED = (*NODES, "stmt_type", "belief")
EVIDENCE = "source_hash"
#: A column's name that a query, a list of names, and a TSV's header must not stumble over.
ODD = "a \"name\", with\ttab\nand 'quotes'"


def write(path: Path, rows: Sequence[Row] | pa.Table) -> Path:
    """Rows as the path's ending says, by the project's own writers."""
    with open(path, "wb") as file:
        KINDS[path.suffix[1:]]().format.write(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), file)
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
    found = evidences(key, group)
    made, means = key | {"evidences": len(found)}, {}
    for label in labels:
        columns = [[row[prefix + label] for row in rows] for rows in found]
        means[label] = mean([mean(values) for values in columns])
        logs = [math.log1p(-mean(values)) if mean(values) < 1 else -40 for values in columns]
        made[f"{label}_noisy_or"] = -math.expm1(math.fsum(logs))
        made |= {f"{label}_mean": means[label], f"{label}_max": max(map(max, columns))}
    made["prediction"] = max(means, key=means.__getitem__)
    names = [name for name in PASSED if name in group[0] and name not in key]
    if names[:2] == [*NODES]:
        made |= dict(zip(NODES, min(([row[name] for name in NODES] for row in group), key=_nulls_last), strict=True))
    for name in names:
        made.setdefault(name, min((row[name] for row in group if row[name] not in (None, "")), default=None))
    return made


def evidences(key: Row, group: list[Row]) -> list[list[Row]]:
    """The rows of each evidence of a statement."""
    found: dict[Any, list[Row]] = {}
    for number, row in enumerate(group):
        told = None if EVIDENCE in key else row.get(EVIDENCE)
        found.setdefault(("row", number) if told is None else told, []).append(row)
    return [*found.values()]


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _nulls_last(values: Iterable[Any]) -> list[tuple[bool, Any]]:
    return [(value is None, value or "") for value in values]


def message(*arguments: str | Path) -> str:
    """Of the command, which must fail and leave no file but those that were there."""
    folders = {Path(argument).parent for argument in arguments if isinstance(argument, Path)}
    before = [sorted(folder.iterdir()) for folder in folders if folder.exists()]
    with pytest.raises(UserError) as caught:
        main(list(map(str, arguments)))
    assert [sorted(folder.iterdir()) for folder in folders if folder.exists()] == before
    return one_line(caught.value)


def check_same(found: Sequence[Row], wanted: Sequence[Row]) -> None:
    """Equal rows, floats but for rounding."""
    assert len(found) == len(wanted)
    for row, other in zip(found, wanted, strict=True):
        assert list(row) == list(other)
        for name, value in other.items():
            close = pytest.approx(value, rel=1e-13, abs=1e-15) if isinstance(value, float) else value
            assert row[name] == close, name
