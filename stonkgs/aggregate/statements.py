"""One row a statement: `aggregate` wires predictions, the sort and the output."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from stonkgs.aggregate.columns import Layout
from stonkgs.aggregate.evidences import Evidences, probabilities
from stonkgs.aggregate.predictions import find
from stonkgs.aggregate.reduce import Doubles, Runs, one_each
from stonkgs.aggregate.sort import Sorter, even, sorter
from stonkgs.aggregate.write import check_output, opened
from stonkgs.errors import printable
from stonkgs.model.decision import class_names, predicted_classes
from stonkgs.tables.damage import reading

#: Stands for the logarithm of 0: 1 - exp(-40) is 1 in doubles.
LEAST_LOG: Final = -40.0
#: Statements that are written at a time: a row group of a Parquet file.
GROUP: Final = 1 << 17


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
        schema = predictions.format.schema(predictions.files)
    evidences = Evidences(predictions, Layout.of(predictions, schema, by))
    with sorter(output, memory) as made:
        counts = made.interruptible(partial(_write, made, evidences, output, overwrite=overwrite))
    seconds = time.perf_counter() - started
    return Summary(output, evidences.rows, evidences.without_key, evidences.layout.key, *counts, seconds)


def _write(made: Sorter, evidences: Evidences, output: Path, *, overwrite: bool) -> tuple[int, int, int]:
    """The number of statements, of their evidences, and of those of the one that has the most."""
    statements = total = most = 0
    with opened(output, evidences.layout.schema, overwrite=overwrite) as write:
        for batch in even(_statements(made, evidences), GROUP):
            write(pa.Table.from_batches([batch]))
            counts = batch["evidences"].to_numpy()
            statements, total = statements + len(counts), total + int(counts.sum())
            most = max(most, int(counts.max(initial=0)))
    return statements, total, most


def _statements(made: Sorter, evidences: Evidences) -> Iterator[pa.Table]:
    """The flow: rows are sorted, rows of one evidence come to its mean, evidences of one statement to its measures."""
    layout, keys = evidences.layout, len(evidences.layout.keys)
    # By the probabilities too: they are added up in the same order, whatever the order of the rows was.
    batches = made.sorted(evidences, evidences.schema, layout.probable.stop)
    rows = (_rows(batch, layout) for batch in batches)
    of_evidence = one_each(rows) if layout.evidence else rows
    of_statement = one_each(_means(runs, keys) for runs in of_evidence)
    return (_table(runs, evidences) for runs in of_statement)


def _rows(batch: pa.RecordBatch, layout: Layout) -> Runs:
    """Added up are the number of rows, and the probabilities."""
    columns, probable = batch.columns, layout.probable
    found = probabilities(columns[probable])
    added = np.vstack([np.ones(len(batch)), found])
    return Runs(tuple(columns[: probable.start]), added, found, tuple(columns[probable.stop :]), layout.pair)


def _means(runs: Runs, keys: int) -> Runs:
    """Evidences: added up are the numbers of rows and of evidences, the probabilities p and the logarithms of 1 - p."""
    rows, means = runs.added[0], runs.added[1:] / runs.added[0]
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log1p(-means), LEAST_LOG)
    added = np.vstack([rows, np.ones(len(runs)), means, logs])
    return Runs(runs.keys[:keys], added, runs.largest, runs.smallest, runs.pair)


def _table(runs: Runs, evidences: Evidences) -> pa.Table:
    """Statements as they are written."""
    layout = evidences.layout
    measured = measures(runs)
    said = predicted_classes(measured[:, 1].T, multi_label=evidences.multi_label)
    keys, passed = (
        [column.leave(values) for column, values in zip(columns, found, strict=True)]
        for columns, found in ((layout.keys, runs.keys), (layout.passed, runs.smallest))
    )
    flat = map(pa.array, measured.reshape(-1, len(runs)))
    counted = [pa.array(runs.added[1].astype(np.int64)), *flat, pa.array(class_names(said, layout.labels), pa.string())]
    return pa.Table.from_arrays([*keys, *counted, *passed], schema=layout.schema)


def measures(runs: Runs) -> Doubles:
    """Noisy-or, mean and max of statements: [K, 3, N].

    Noisy-or, 1 - prod(1 - p), is the probability that at least one of independent evidences is right: the noisy-or gate
    of Pearl (1988), Probabilistic Reasoning in Intelligent Systems, chapter 4. A sum of logarithms does not underflow.
    A statement of one row has the row's own p, to the digit.
    """
    rows, count, *sums = runs.added
    means, logs = np.split(np.array(sums), 2)
    found = np.stack([np.abs(np.expm1(logs)), means / count, runs.largest], axis=1)
    return np.where(rows == 1, runs.largest[:, None], found)
