"""Writes embeddings as a NumPy array that can be mapped into memory, and the other columns beside it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa
from numpy.lib import format as npy

from stonkgs.errors import UserError
from stonkgs.model.answer import EMBEDDING, Answer, Embeddings
from stonkgs.runs.job import Job
from stonkgs.writer.joining import Join
from stonkgs.writer.parquet import ParquetWriter

#: The file of all columns but the embeddings, in the same order.
ROWS: Final = "rows.parquet"


class NpyWriter(ParquetWriter):
    """Writes `embeddings.npy`, float32 [N, H], and `rows.parquet` with the other columns of the same N rows.

    `np.load("embeddings.npy", mmap_mode="r")` opens the array without reading it. The parts are Parquet, of which both
    are made at the end.
    """

    def prepare(self, job: Job) -> None:
        """Sets the output's columns. Raises UserError where the run makes no embeddings, or is not to join parts."""
        if not isinstance(job.answer, Embeddings):
            raise UserError(f"writer=npy: holds embeddings (stonkgs embed); {job.answer.name} need writer=parquet")
        if not job.merge:
            raise UserError("writer=npy: is made when the parts are joined; with merge=false choose writer=parquet")
        super().prepare(job)

    def joins(self, answer: Answer) -> Mapping[str, Join]:
        return {f"{answer.name}.npy": self._join_vectors, ROWS: self._join_rows}

    def _join_vectors(self, parts: Iterator[Path], rows: int, file: BinaryIO) -> None:
        """Writes the header of an array of so many rows, and then the numbers as they lie in memory."""
        field = self.schema.field(self.prefix + EMBEDDING)
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, field.type.list_size)}
        npy.write_array_header_1_0(file, header)
        for part in parts:
            for batch in self.format.batches(part, pa.schema([field])):
                file.write(batch.column(0).flatten().to_numpy().astype("<f4", copy=False))

    def _join_rows(self, parts: Iterator[Path], rows: int, file: BinaryIO) -> None:
        self.format.join(parts, self.schema.remove(self.schema.get_field_index(self.prefix + EMBEDDING)), file)
