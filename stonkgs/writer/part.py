"""Writes the part of one split: holds its batches, and writes them in the input's order, in pieces if they are many."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stonkgs.disk import publish
from stonkgs.encode.nodes import Found
from stonkgs.errors import UserError
from stonkgs.runs.account import Account, json_line, rejection_to_json
from stonkgs.runs.job import Job
from stonkgs.runs.parts import REJECTED_PREFIX, Parts
from stonkgs.runs.stamp import Stamped
from stonkgs.statement import Rejection, Tally
from stonkgs.tables.exact_json import NOT_FINITE
from stonkgs.tables.format import Format, Write

#: Rows wait until they are so many, or take so many bytes. A split of the usual size is written as a whole.
PIECE_ROWS = 1 << 15
PIECE_BYTES = 64 << 20
#: So many bytes of rejected rows stay in memory.
REJECTED_BYTES = 1 << 20


class HeldBatch(NamedTuple):
    """What is kept of a batch until it is written."""

    #: int64 [B]: the rows' places in their split
    positions: npt.NDArray[np.int64]
    #: the input's columns that are passed through
    columns: pa.RecordBatch
    #: int8 [B, 2] and bool [B]: see Batch
    found: npt.NDArray[np.int8]
    truncated: npt.NDArray[np.bool_]
    #: float32 [B, K] or [B, H]: see Answer
    outputs: npt.NDArray[np.float32]
    #: bool [B], or None: see Batch
    relations_known: npt.NDArray[np.bool_] | None = None

    @property
    def nbytes(self) -> int:
        """Returns the bytes that it takes, about."""
        return int(self.columns.nbytes + self.outputs.nbytes)


#: Returns rows in the input's order, as the output has them.
Table = Callable[[Sequence[HeldBatch]], pa.Table]


class AbandonedError(Exception):
    """Makes `publish` remove what was written so far."""


class OpenPart:
    """The part of a split that is not committed yet.

    Rows wait until their split ends, or until they are many and no row before the last of them is missing, which is so
    at the end of each window. So memory does not depend on the size of the split.
    """

    def __init__(self, split: int, parts: Parts, form: Format, job: Job, schema: pa.Schema, table: Table) -> None:
        self.split = split
        self.parts = parts
        self.format = form
        self.job = job
        self.schema = schema
        self.table = table
        self.account = Account(classes=dict.fromkeys(job.answer.labels, 0))
        #: whether somebody else has done the split, or the run is over; then nothing is written
        self.elsewhere = False
        self._held: list[HeldBatch] = []
        self._written = 0
        #: values that are null in the file because the format cannot hold them
        self._nulls = 0
        #: lines of rejected.jsonl
        self._rejected: SpooledTemporaryFile[bytes] | None = None
        #: the rows' file, which has a temporary name until the stack is closed
        self._file: Stamped | None = None
        self._opened = ExitStack()
        #: adds a table to that file, where it is written in pieces
        self._write: Write | None = None
        self._writing = ExitStack()

    def add(self, held: HeldBatch) -> None:
        """Takes a batch, and writes a piece if it is time to. Raises UserError where it cannot be written."""
        self._held.append(held)
        self._count(held)
        rows = self.account.predicted - self._written
        if rows >= PIECE_ROWS or sum(one.nbytes for one in self._held) >= PIECE_BYTES:
            last = max(int(one.positions.max(initial=-1)) for one in self._held)
            if last + 1 == self.account.predicted:
                self._write_piece()

    def _count(self, held: HeldBatch) -> None:
        account = self.account
        account.predicted += len(held.positions)
        account.nodes_exact += int((held.found == Found.EXACT).sum())
        account.nodes_identifier += int((held.found == Found.IDENTIFIER).sum())
        account.nodes_unknown += int((held.found == Found.UNKNOWN).sum())
        account.texts_truncated += int(held.truncated.sum())
        if held.relations_known is not None:
            account.relations_unknown = (account.relations_unknown or 0) + int((~held.relations_known).sum())
        for label, count in self.job.answer.counts(held.outputs).items():
            account.classes[label] += count

    def reject(self, rejections: Sequence[Rejection]) -> None:
        """Takes rejected rows: few of them stay in memory, many are written to a file without a name."""
        self.account.rejected += len(rejections)
        if rejections and self._rejected is None:
            # The folder is that of the parts: /tmp may be in memory.
            options: dict[str, Any] = {"dir": self.parts.path, "prefix": REJECTED_PREFIX}
            self._rejected = SpooledTemporaryFile(REJECTED_BYTES, **options)  # noqa: SIM115
        try:
            for rejection in rejections:
                self._rejected.write(json_line(rejection_to_json(rejection)))  # type: ignore[union-attr]
        except OSError as error:
            raise UserError(f"{self.parts.path}: cannot be written: {error.strerror or error}") from error

    def commit(self, tally: Tally) -> None:
        """Writes the rows and then the account; then both get their names, the rows last: so the split counts.

        The account holds the stamp of the rows, so it is written when they are. Raises UserError.
        """
        account = self.account
        account.without_row, account.records, account.lines = dict(tally.without_row), tally.records, tally.lines
        account.made_null = dict(tally.made_null)
        if self._write and self._held:
            self._write_piece()
        with self._opened:
            if self._write:
                self._writing.close()
            else:
                self.format.write(self._take(), self._begin())
            if self._nulls:
                account.made_null[NOT_FINITE] = account.made_null.get(NOT_FINITE, 0) + self._nulls
            assert self._file is not None
            with publish(self.parts.account(self.split), lasting=False) as file:
                account.write(cast(BinaryIO, self._rejected), self._file.stamp, file)

    def _write_piece(self) -> None:
        with self._opened, self._writing:  # closed here after an error only
            if self._write is None:
                self._write = self._writing.enter_context(self.format.writing(self.schema, self._begin()))
            if len(table := self._take()):
                self._write(table)
            self._opened, self._writing = self._opened.pop_all(), self._writing.pop_all()

    def _begin(self) -> Any:
        """Opens the file of the rows, under a temporary name."""
        rows = publish(
            self.parts.rows(self.split), check=lambda part: self.format.verify(part, self._written), lasting=False
        )
        self._file = Stamped(self._opened.enter_context(rows))
        return self._file

    def _take(self) -> pa.Table:
        """Returns the rows that wait."""
        table, self._held = self.table(self._held), []
        self._written += len(table)
        self._nulls += self.format.made_null(table)
        return table

    def abandon(self) -> None:
        """Removes what is written of the part. Does nothing after `commit`."""
        with suppress(AbandonedError, UserError), self._opened, self._writing:
            raise AbandonedError
        self._held = []
        if self._rejected:
            self._rejected.close()
