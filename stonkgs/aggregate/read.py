"""Reading predictions back: the columns that are asked for, batch after batch, at constant memory."""

import csv
import io
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from stonkgs.aggregate.columns import HOLDS, MisfitError
from stonkgs.errors import UserError

#: Rows of a Parquet file, and bytes of the others, that are decoded at a time.
ROWS = 1 << 16
BLOCK = 4 << 20
#: A row of more bytes is none: a quote that nothing closes joins all rows behind it.
LONGEST = 64 << 20
#: Characters of a reader's message that are passed on: it may quote a whole row.
MESSAGE = 300
#: The first that holds all of a JSON column's values is its type.
JSON_TYPES: Final[dict[pa.DataType, set[type]]] = {
    pa.null(): set(),
    pa.bool_(): {bool},
    pa.int64(): {int},
    pa.float64(): {int, float},
    pa.string(): {str},
}
#: What values of a type are called.
KINDS: Final = {bool: "true or false", int: "numbers", float: "numbers", str: "texts", list: "lists", dict: "objects"}


class Format(NamedTuple):
    """How one kind of predictions is read. Both raise OSError, ValueError or Arrow's errors where a file is damaged."""

    #: the columns of files that belong together; of JSON lines a mixed or nested one is of a type that is no value's
    schema: Callable[[Sequence[Path]], pa.Schema]
    #: the columns of one file that `wanted` names, in its order; text formats read them as its types
    batches: Callable[[Path, pa.Schema], Iterator[pa.RecordBatch]]


def _parquet_schema(files: Sequence[Path]) -> pa.Schema:
    return pq.read_schema(files[0])


def _parquet_batches(file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) as parquet:
        _check_columns(file, parquet.schema_arrow.names, wanted)
        for batch in parquet.iter_batches(ROWS, columns=wanted.names, use_threads=False):
            yield batch.select(wanted.names)


def _tsv_schema(files: Sequence[Path]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in _header(files[0])])


def _header(file: Path) -> list[str]:
    head = next(_blocks(file, quoted=True), b"").decode()
    return next(csv.reader(io.StringIO(head, newline=""), delimiter="\t"), [])


def _tsv_batches(file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    header = _header(file)
    _check_columns(file, header, wanted)
    numbers = [str(header.index(name)) for name in wanted.names]
    names = [str(number) for number in range(len(header))]
    convert = pyarrow.csv.ConvertOptions(
        include_columns=numbers, column_types=dict(zip(numbers, wanted.types, strict=True)), null_values=[""]
    )
    parse = pyarrow.csv.ParseOptions(delimiter="\t", newlines_in_values=True)
    for number, block in enumerate(_blocks(file, quoted=True)):
        read = pyarrow.csv.ReadOptions(
            use_threads=False, block_size=len(block) + 1, column_names=names, skip_rows_after_names=int(number == 0)
        )
        table = pyarrow.csv.read_csv(io.BytesIO(block), read, parse, convert)
        yield from table.rename_columns(wanted.names).to_batches()


def _check_columns(file: Path, names: Sequence[str], wanted: pa.Schema) -> None:
    """UserError where a part lacks what the first one has."""
    if absent := [name for name in wanted.names if name not in names]:
        raise UserError(
            f"{file}: has no column {absent[0]!r}, which the first part has; fetch it again, or predict again"
        )


def _jsonl_schema(files: Sequence[Path]) -> pa.Schema:
    """By all rows: the first value of a column may come late, and a fraction behind whole numbers."""
    seen: dict[tuple[str, type], None] = {}  # a set in order
    for file in files:
        with reading(file, "its columns"):
            for line in filter(bytes.strip, (line for block in _blocks(file) for line in block.splitlines())):
                row = json.loads(line)
                if type(row) is not dict:
                    raise ValueError("a line is no JSON object")
                seen |= dict.fromkeys(zip(row, map(type, row.values()), strict=True))
    kinds: dict[str, set[type]] = {}
    for name, kind in seen:
        kinds.setdefault(name, set()).update({kind} - {type(None)})
    return pa.schema([_json_field(name, of_name) for name, of_name in kinds.items()])


def _json_field(name: str, kinds: set[type]) -> pa.Field:
    if type_ := next((type_ for type_, fits in JSON_TYPES.items() if kinds <= fits), None):
        return pa.field(name, type_)
    return pa.field(name, pa.struct([]), metadata={HOLDS: " and ".join(sorted({KINDS[kind] for kind in kinds}))})


def _jsonl_batches(file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    parse = pyarrow.json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="ignore")
    for block in _blocks(file):
        read = pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        yield from pyarrow.json.read_json(io.BytesIO(block), read, parse).select(wanted.names).to_batches()


def _blocks(file: Path, *, quoted: bool = False) -> Iterator[bytes]:
    """A text file in pieces of whole rows; a newline in quotes ends none where the format has `quoted` fields."""
    rest = b""
    with open(file, "rb") as stream:
        if stream.read(len(BOM_UTF8)) != BOM_UTF8:
            stream.seek(0)
        while data := stream.read(BLOCK):
            data = rest + data
            end = _last_end(data, quoted)
            if end:
                yield data[:end]
            rest = data[end:]
            if len(rest) > LONGEST:
                raise UserError(f"{file}: a row has more than {LONGEST >> 20} MB; is a quote not closed?")
    if rest:
        yield rest


def _last_end(data: bytes, quoted: bool) -> int:
    """Behind the last row that ends in `data`, which begins with a row; 0 where none does.

    An odd number of quotes before a newline means that it is in a quoted field: one more has opened than closed, and a
    quote within a field is written twice.
    """
    end = data.rfind(b"\n") + 1
    if not quoted:
        return end
    inside = data.count(b'"', 0, end) % 2
    while inside and end:
        before = data.rfind(b"\n", 0, end - 1) + 1
        inside ^= data.count(b'"', before, end) % 2
        end = before
    return end


@contextmanager
def reading(file: Path, place: str) -> Iterator[None]:
    """Turn what a damaged file leads to into a UserError of one line that names it."""
    try:
        yield
    except (OSError, ValueError, KeyError, RecursionError, csv.Error, pa.ArrowException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:MESSAGE]
        remedy = "" if isinstance(error, MisfitError) else "; is it damaged?"
        raise UserError(f"{file}: {place}: {reason}{remedy}") from error


FORMATS: Final = {
    "parquet": Format(_parquet_schema, _parquet_batches),
    "tsv": Format(_tsv_schema, _tsv_batches),
    "jsonl": Format(_jsonl_schema, _jsonl_batches),
}
