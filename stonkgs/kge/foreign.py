"""Reads vectors that other programs have learned: word2vec's text form, NumPy arrays, and results of PyKEEN.

Files from others may be hostile. No pickle is read, and sizes, names and numbers are checked before they are used.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from stonkgs.errors import UserError, reason
from stonkgs.kge.rows import FLOATS, TextRows, check_rows, floats
from stonkgs.source.file import file_errors
from stonkgs.source.split import END
from stonkgs.source.text.quoted import Quoted, cutter
from stonkgs.source.text.records import Lines, RawRecord

#: Rows and bytes of vectors that are read at a time: the first of both that is reached.
BLOCK, BYTES = 4096, 1 << 22
#: The longest line of vectors and of names in bytes, and the most numbers that a vector may have.
LONGEST, LONGEST_NAME, WIDEST = 1 << 22, 1 << 16, 1 << 16
#: In a folder that PyKEEN has written: the numbers of entities and relations, and the weights, which the user writes.
ENTITIES, RELATIONS = "training_triples/entity_to_id.tsv.gz", "training_triples/relation_to_id.tsv.gz"
WEIGHTS: Final = "model.safetensors"
#: The names of the two tables of vectors among PyKEEN's weights.
TABLES: Final = ("entity_representations.0._embeddings.weight", "relation_representations.0._embeddings.weight")
#: How the weights are written.
HOW: Final = (
    f"write them as {WEIGHTS} beside it, where you trust it: "
    "safetensors.torch.save_file(torch.load('trained_model.pkl', weights_only=False).state_dict(), 'model.safetensors')"
)


class Block(NamedTuple):
    """Some nodes with their vectors, in the order of the input."""

    names: list[bytes]
    vectors: NDArray[np.float32]
    """float32 [n, D], all finite"""


def read_foreign(path: str, names: str | None) -> Iterator[Block]:
    """Yields the vectors of a file, or of a folder that PyKEEN has written. `names` is a file of a .npy's names.

    Raises UserError, with the line or row, for whatever cannot be taken.
    """
    given = Path(path)
    if given.suffix in (".pkl", ".pickle", ".pt", ".pth", ".bin"):
        raise UserError(f"{path}: may run code when it is read, and is not; give word2vec's text, a .npy, or a folder")
    if (given.suffix == ".npy") != (names is not None):
        raise UserError(f"{path}: " + ("give its names: --names FILE" if names is None else "has names; no --names"))
    if given.is_dir():
        return _of_pykeen(given)
    return _of_array(path, names) if names else _of_text(path)


def files_of(path: str) -> list[str]:
    """Returns the files behind a path that `read_foreign` takes, and those that they were made of."""
    inside = (WEIGHTS, ENTITIES, RELATIONS, "trained_model.pkl")
    return [str(Path(path, name)) for name in inside] if Path(path).is_dir() else [path]


def _of_text(path: str) -> Iterator[Block]:
    """Word2vec's text form: a line of N and D, then lines of a name, which may hold blanks, and D numbers."""
    with file_errors(path), closing(Lines(path, LONGEST)) as lines:
        records = iter(lines.records(0, END))
        first = next(records, None)
        found = re.fullmatch(rb"(\d{1,10}) (\d{1,6}) ?\r?", _raw(path, first) if first else b"")
        if not found or not 0 < int(found[2]) <= WIDEST:
            raise UserError(
                f"{path}, line 1: is not the first line of word2vec's text form, the number of names and of the "
                "numbers of each; a TSV without it is for 'stonkgs kge build'"
            )
        wanted, width, seen = int(found[1]), int(found[2]), 0
        for some in _some(records):
            rows = _text_rows(path, some, width)
            seen += len(some)
            check_rows(rows, width, FLOATS)
            yield Block(_checked(rows), floats(rows, width, np.dtype(np.float32)))
    if seen != wanted:
        raise UserError(f"{path}: its first line names {wanted:,} vectors, and it has {seen:,}; write it again")


def _some(records: Iterator[RawRecord]) -> Iterator[list[RawRecord]]:
    """Yields records, at most BLOCK and about BYTES of them at a time."""
    some, size = list[RawRecord](), 0
    for record in records:
        some.append(record)
        size += len(record.raw)
        if len(some) == BLOCK or size >= BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _rows_at_a_time(width: int) -> int:
    """Returns how many vectors of some numbers are read at a time."""
    return max(1, min(BLOCK, BYTES // (4 * width)))


def _text_rows(path: str, records: Iterable[RawRecord], width: int) -> TextRows:
    """Cut lines before their last D fields: a name may hold blanks."""
    rows = TextRows(path, [], [], [], [])
    for record in records:
        name, *values = _raw(path, record).rstrip(b" \r").rsplit(b" ", width)
        rows.lines.append(record.line + 1)
        rows.names.append(name)
        rows.values.append(b"\t".join(values))
        rows.widths.append(len(values))
    return rows


def _raw(path: str, record: RawRecord) -> bytes:
    if record.problem:
        raise UserError(f"{path}, line {record.line + 1}: {record.problem}; is this a file of vectors?")
    return record.raw


def _checked(rows: TextRows) -> list[bytes]:
    """Returns the names of rows that `check_rows` has passed. Raises UserError for an empty one."""
    if b"" in rows.names:
        rows.fail(rows.names.index(b""), "a vector without a name; mend or remove the line")
    return rows.names


def _of_array(path: str, names: str) -> Iterator[Block]:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise UserError(f"{path}: {reason(error)}") from error
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise UserError(f"{path}: is no whole .npy file of numbers; save it again by np.save") from error
    if array.ndim != 2 or array.dtype.kind != "f" or not 0 < array.shape[1] <= WIDEST or not len(array):
        raise UserError(f"{path}: {array.dtype} {list(array.shape)}, and vectors are floats [names, numbers of each]")
    rows = _lines(names)
    step = _rows_at_a_time(array.shape[1])
    for start in range(0, len(array), step):
        part = array[start : start + step]
        yield _block(names, list(islice(rows, len(part))), path, part, start)
    if next(rows, None) is not None:
        raise UserError(f"{names}: more names than the {len(array):,} vectors of {path}")


def _lines(path: str) -> Iterator[bytes]:
    """Yields the lines of a file of names."""
    with file_errors(path), closing(Lines(path, LONGEST_NAME)) as lines:
        for record in lines.records(0, END):
            yield _raw(path, record).removesuffix(b"\r")


def _quoted(path: str) -> Iterator[list[bytes]]:
    """Yields the fields of each line of a TSV as pandas writes it: those that hold a quote or a tab are in quotes."""
    cut = cutter("\t")
    with file_errors(path), closing(Quoted(path, LONGEST_NAME, "\t", "write it again")) as lines:
        for record in lines.records(0, END):
            text = _raw(path, record).removesuffix(b"\r").decode(errors="surrogateescape")
            yield [field.encode(errors="surrogateescape") for field in cut(text)]


def _of_pykeen(folder: Path) -> Iterator[Block]:
    """The entities, and behind them the relations, if their vectors are as wide."""
    weights, entities = folder / WEIGHTS, folder / ENTITIES
    if not entities.is_file():
        raise UserError(f"{folder}: has no {ENTITIES}; name a folder that PyKEEN's save_to_directory has written")
    if not weights.is_file():
        raise UserError(f"{folder}: trained_model.pkl may run code when it is read, and is not; {HOW}")
    try:
        with safe_open(str(weights), framework="numpy") as file:
            tables = [file.get_slice(name) if name in file.keys() else None for name in TABLES]  # noqa: SIM118
            if tables[0] is None or len(tables[0].get_shape()) != 2:
                raise UserError(f"{weights}: has no table {TABLES[0]} [names, numbers]; other models have no vectors")
            yield from _table(tables[0], weights, entities)
            same = tables[1] is not None and tables[1].get_shape()[1:] == tables[0].get_shape()[1:]
            if same and (folder / RELATIONS).is_file():
                yield from _table(tables[1], weights, folder / RELATIONS)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(f"{weights}: is no whole safetensors file of floats; write it again") from error


def _table(table: Any, weights: Path, names: Path) -> Iterator[Block]:
    """Yields a table of vectors with the names that a TSV `id label` gives to its rows."""
    rows = _quoted(str(names))
    if next(rows, None) != [b"id", b"label"]:
        raise UserError(f"{names}, line 1: is not 'id label', as PyKEEN writes it")
    count, width = table.get_shape()
    if not 0 < width <= WIDEST:
        raise UserError(f"{weights}: vectors of {width} numbers")
    step = _rows_at_a_time(width)
    for start in range(0, count, step):
        labels, stop = list[bytes](), min(start + step, count)
        for number, fields in enumerate(islice(rows, stop - start), start):
            if len(fields) != 2 or fields[0] != str(number).encode():
                raise UserError(f"{names}, line {number + 2}: number {number} is missing, as the rows count")
            labels.append(fields[1])
        yield _block(str(names), labels, str(weights), table[start:stop], start)
    if next(rows, None) is not None:
        raise UserError(f"{names}: more names than the {count:,} vectors of {weights}")


def _block(names: str, labels: list[bytes], path: str, values: NDArray[Any], start: int) -> Block:
    """Check some names and vectors, of which the first is number `start`."""
    if len(labels) != len(values):
        raise UserError(f"{names}: {start + len(labels):,} names, and {path} has more vectors")
    rows = TextRows(names, list(range(start + 1, start + 1 + len(labels))), labels, labels, [1] * len(labels))
    check_rows(rows, 1, FLOATS)
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(vectors).all():
        row = start + int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise UserError(f"{path}: vector {row}, counted from 0, is not finite in float32; mend or remove it")
    return Block(_checked(rows), vectors)
