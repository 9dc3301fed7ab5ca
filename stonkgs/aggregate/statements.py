"""Aggregates predictions to one row per statement: connects reading, sorting, reducing and writing."""

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
from stonkgs.aggregate.reduce import Doubles, Groups, merge_groups
from stonkgs.aggregate.sort import Sorter, open_sorter, rebatch
from stonkgs.aggregate.write import check_output, writing_statements
from stonkgs.errors import printable
from stonkgs.model.decision import class_names, predicted_classes
from stonkgs.tables.damage import reading

#: Replaces the logarithm of 0: 1 - exp(-40) equals 1 in double precision.
MIN_LOG: Final = -40.0
#: How many statements are written at a time, in Parquet as a row group.
GROUP: Final = 1 << 17


@dataclass(frozen=True, slots=True)
class AggregateSummary:
    """What an aggregation has read and written."""

    output: Path
    #: rows read
    rows: int
    #: how many of them lacked a key and were left out
    without_key: int
    #: the names of the key columns, in words
    key: str
    statements: int
    #: evidences of all statements
    evidences: int
    #: evidences of the statement that has the most
    most: int
    seconds: float

    @property
    def mean(self) -> float:
        """Average number of evidences of a statement."""
        return self.evidences / max(self.statements, 1)

    def __str__(self) -> str:
        """Returns a table with one fact per line."""
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
) -> AggregateSummary:
    """Write one row per statement: rows of predictions that agree in the columns `by` belong to one, and sort by them.

    Each row is an evidence. But if the predictions have INDRA's `source_hash`, and it is no key, rows of a statement
    that agree in it are one evidence, which was read for several edges. Its probability is the mean of these rows;
    `max` is the largest of any row. `source` and `target`, if neither is a key, are the smallest pair of a row; other
    columns are passed on with their smallest value.

    `path` is a file of predictions, a run's output_dir, or a folder of parts. `classes` names its columns of
    probabilities, all of them in the model's order, if there is no run.json beside it. The output's ending decides its
    format; by default it is `statements.parquet` beside the predictions. `memory` limits what DuckDB uses before it
    continues in files beside the output; the result is the same to the byte. Raises UserError, and leaves no file, for
    any mistake.
    """
    started = time.perf_counter()
    predictions = find(Path(path).absolute(), classes)
    output = Path(output) if output is not None else predictions.path.parent / "statements.parquet"
    check_output(output, predictions, overwrite=overwrite)
    with reading(predictions.files[0], "its columns"):
        schema = predictions.format.schema(predictions.files)
    evidences = Evidences(predictions, Layout.of(predictions, schema, by))
    with open_sorter(output, memory) as sorter:
        counts = sorter.interruptible(partial(_write, sorter, evidences, output, overwrite=overwrite))
    seconds = time.perf_counter() - started
    return AggregateSummary(output, evidences.rows, evidences.without_key, evidences.layout.key, *counts, seconds)


def _write(sorter: Sorter, evidences: Evidences, output: Path, *, overwrite: bool) -> tuple[int, int, int]:
    """Write the statements. Returns their number, that of all evidences, and the most evidences of one statement."""
    statements = total = most = 0
    with writing_statements(output, evidences.layout.schema, overwrite=overwrite) as write:
        for batch in rebatch(_statements(sorter, evidences), GROUP):
            write(pa.Table.from_batches([batch]))
            counts = batch["evidences"].to_numpy()
            statements, total = statements + len(counts), total + int(counts.sum())
            most = max(most, int(counts.max(initial=0)))
    return statements, total, most


def _statements(sorter: Sorter, evidences: Evidences) -> Iterator[pa.Table]:
    """Yields the statements: sort rows, reduce rows to evidences by their mean, and evidences to statements."""
    layout, keys = evidences.layout, len(evidences.layout.keys)
    # Sorted by the probabilities, too, so that they are added up in the same order whatever the rows' order was.
    batches = sorter.sorted(evidences, evidences.schema, layout.probability_slice.stop)
    rows = (_rows(batch, layout) for batch in batches)
    of_evidence = merge_groups(rows) if layout.evidence else rows
    of_statement = merge_groups(_means(groups, keys) for groups in of_evidence)
    return (_table(groups, evidences) for groups in of_statement)


def _rows(batch: pa.RecordBatch, layout: Layout) -> Groups:
    """Returns rows as groups of one. Added up are: the number of rows, and the probabilities."""
    columns, at = batch.columns, layout.probability_slice
    found = probabilities(columns[at])
    added = np.vstack([np.ones(len(batch)), found])
    return Groups(tuple(columns[: at.start]), added, found, tuple(columns[at.stop :]), layout.pair)


def _means(groups: Groups, keys: int) -> Groups:
    """Returns evidences. Added up are: the number of rows, that of evidences, the probabilities p, and log(1 - p)."""
    rows, means = groups.added[0], groups.added[1:] / groups.added[0]
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log1p(-means), MIN_LOG)
    added = np.vstack([rows, np.ones(len(groups)), means, logs])
    return Groups(groups.keys[:keys], added, groups.largest, groups.smallest, groups.pair)


def _table(groups: Groups, evidences: Evidences) -> pa.Table:
    """Returns statements as a table with the columns of the output."""
    layout = evidences.layout
    measured = measures(groups)
    classes = predicted_classes(measured[:, 1].T, multi_label=evidences.multi_label)
    keys, passed = (
        [column.from_sortable(values) for column, values in zip(columns, found, strict=True)]
        for columns, found in ((layout.keys, groups.keys), (layout.passed, groups.smallest))
    )
    flat = map(pa.array, measured.reshape(-1, len(groups)))
    predictions = pa.array(class_names(classes, layout.labels), pa.string())
    columns = [*keys, pa.array(groups.added[1].astype(np.int64)), *flat, predictions, *passed]
    return pa.Table.from_arrays(columns, schema=layout.schema)


def measures(groups: Groups) -> Doubles:
    """Returns noisy-or, mean and max of N statements with K classes: [K, 3, N].

    Noisy-or, 1 - prod(1 - p), is the probability that at least one of independent evidences is right: the noisy-or gate
    of Pearl (1988), Probabilistic Reasoning in Intelligent Systems, chapter 4. It is computed by a sum of logarithms,
    which does not underflow. A statement of one row has exactly the row's own p.
    """
    rows, count, *sums = groups.added
    means, logs = np.split(np.array(sums), 2)
    found = np.stack([np.abs(np.expm1(logs)), means / count, groups.largest], axis=1)
    return np.where(rows == 1, groups.largest[:, None], found)
