"""One row a statement: `aggregate` wires predictions, DuckDB and the output."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.aggregate.columns import Layout
from stonkgs.aggregate.evidences import UNIT, Evidences
from stonkgs.aggregate.grouping import connection, grouped, interruptible
from stonkgs.aggregate.predictions import find
from stonkgs.aggregate.read import FORMATS, reading
from stonkgs.aggregate.write import check_output, opened
from stonkgs.errors import printable
from stonkgs.model.decision import chosen, names

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Summary:
    """What has become of predictions."""

    output: Path
    #: rows read; those among them without a key, which were left out
    rows: int
    without_key: int
    #: the names of what tells statements apart, in words
    key: str
    statements: int
    #: of all statements; of the one that has the most
    evidences: int
    most: int
    seconds: float

    @property
    def mean(self) -> float:
        """Evidences of a statement, on average."""
        return self.evidences / max(self.statements, 1)

    def __str__(self) -> str:
        """A row a fact, numbers in one column."""
        left_out = f"{self.without_key:,} rows without {self.key} were left out" if self.without_key else ""
        rows = [
            ("rows read", f"{self.rows:,}", left_out),
            ("statements", f"{self.statements:,}", str(self.output)),
            ("evidences", f"{self.mean:,.1f}", f"a statement, {self.most:,} at most"),
            ("rows/s", f"{self.rows / max(self.seconds, 1e-9):,.1f}", f"{self.seconds:,.1f} s"),
        ]
        return "\n".join(f"{name:10} {value:>12}   {printable(note)}".rstrip() for name, value, note in rows)


def aggregate(
    path: str | Path,
    *,
    by: Sequence[str] = ("stmt_hash",),
    output: str | Path | None = None,
    classes: Sequence[str] | None = None,
    overwrite: bool = False,
    memory: str = "1GB",
) -> Summary:
    """Write one row for all rows of predictions that agree in the columns `by`, in the order of these.

    Each row is an evidence. But where the predictions have INDRA's `source_hash`, and it is not among the keys, rows of
    a statement that agree in it are one evidence, read for several edges, whose probability is their mean; `max` is the
    largest of any row. `source` and `target`, where neither is a key, are the smallest pair that a row has; of other
    columns that are passed on, each is the smallest by itself.

    `path` is a file of predictions, a run's output_dir, or a folder of parts; `classes` are its columns of
    probabilities, all of them and in the model's order, where no run.json beside it tells. The output's ending is its
    format, by default it is `statements.parquet` beside the predictions. It is the same, to the byte, whatever `memory`
    DuckDB has before it goes on in files beside the output. Raises UserError, and leaves nothing, for any mistake.
    """
    started = time.perf_counter()
    predictions = find(Path(path).absolute(), classes)
    output = Path(output) if output is not None else predictions.path.parent / "statements.parquet"
    check_output(output, predictions, overwrite=overwrite)
    with reading(predictions.files[0], "its columns"):
        schema = FORMATS[predictions.kind].schema(predictions.files)
    evidences = Evidences(predictions, Layout.of(predictions, schema, by))
    with connection(output, memory) as made:
        counts = interruptible(made, partial(_write, made, evidences, output, overwrite=overwrite))
    seconds = time.perf_counter() - started
    return Summary(output, evidences.rows, evidences.without_key, evidences.layout.key, *counts, seconds)


def _write(
    made: duckdb.DuckDBPyConnection, evidences: Evidences, output: Path, *, overwrite: bool
) -> tuple[int, int, int]:
    """The number of statements, of their evidences, and of those of the one that has the most."""
    statements = total = most = 0
    with opened(output, evidences.layout.schema, overwrite=overwrite) as write:
        for batch in grouped(made, evidences):
            write(_finished(batch, evidences))
            counts = batch.column(len(evidences.layout.keys)).to_numpy()
            statements, total = statements + len(counts), total + int(counts.sum())
            most = max(most, int(counts.max(initial=0)))
    return statements, total, most


def _finished(batch: pa.RecordBatch, evidences: Evidences) -> pa.Table:
    """What `grouped` gives as it is written: sums as noisy-or and mean, and what these say."""
    layout = evidences.layout
    columns, width = iter(batch.columns), len(layout.labels)
    keys = [column.leave(next(columns)) for column in layout.keys]
    count, rows = next(columns), next(columns)
    sums = np.stack([next(columns).to_numpy() for _ in range(3 * width)], axis=1).reshape(len(batch), width, 3)
    measured = measures(count.to_numpy(), rows.to_numpy(), sums)
    said = chosen(measured[:, :, 1], multi_label=evidences.multi_label)
    passed = [column.leave(next(columns)) for column in layout.passed]
    flat = [pa.array(values) for values in measured.reshape(len(batch), 3 * width).T]
    prediction = pa.array(names(said, layout.labels), pa.string())
    return pa.Table.from_arrays([*keys, count, *flat, prediction, *passed], schema=layout.schema)


def measures(evidences: Counts, rows: Counts, sums: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Noisy-or, mean and max, float64 [N, K, 3], of sums of ln(1 - p) and of p in UNITs, and the largest p.

    The sums are over the `evidences`, [N], of statements of so many `rows`, [N]; p of several rows is their mean.

    Noisy-or, 1 - prod(1 - p), is the probability that at least one of independent evidences is right: the noisy-or gate
    of Pearl (1988), Probabilistic Reasoning in Intelligent Systems, chapter 4. A sum of logarithms does not underflow,
    and is the same in any order, see `stonkgs.aggregate.evidences`. One row is told by its own p, to the digit.
    """
    logs, units, largest = np.moveaxis(sums, 2, 0)
    found = np.stack([np.abs(np.expm1(logs / UNIT)), units / UNIT / evidences[:, None], largest], axis=2)
    return np.where((rows == 1)[:, None, None], largest[:, :, None], found)
