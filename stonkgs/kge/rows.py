"""Reads the text files that a store is built from: per line a name and its values, separated by tabs.

There are no quotes and no header line.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm import tqdm

from stonkgs.errors import UserError
from stonkgs.source.file import compression, file_errors, open_bytes

#: How many bytes of text are read at a time. A longer line is read completely.
BLOCK = 4 << 20

#: What the values of vectors are called in messages.
FLOATS = "floats"
#: What stands above a column of names, in small letters. For an index pandas writes nothing, and reads "Unnamed: 0".
HEADS = frozenset(
    b"|unnamed: 0|0|index|entity|entities|entity_id|node|nodes|node_id|name|names|id|key|label|term|item".split(b"|")
)
#: The label of a column has fewer digits.
SHORT = 9

#: The end of messages about values that are no numbers.
PLAIN = "there is no header line, and no quotes, blanks or decimal commas"


class TextRows(NamedTuple):
    """Some lines of a file, without the blank ones."""

    file: str
    lines: list[int]
    """The lines' numbers in the file, from 1."""
    names: list[bytes]
    values: list[bytes]
    """The text after the name's tab."""
    widths: list[int]
    """The number of values in each line."""

    def fail(self, row: int, what: str) -> NoReturn:
        """Raises UserError about a row, given by its position here."""
        raise UserError(f"{self.file}, line {self.lines[row]}: {what}")


def read_rows(path: str, label: str) -> Iterator[TextRows]:
    """Yields a file's rows block by block. `label` names the progress bar.

    Raises UserError if the file cannot be read or has no rows.
    """
    if Path(path).is_dir():
        raise UserError(f"{path}: is a directory; name the file in it")
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file (a pipe does not do, files are read twice)")
    total = None if compression(path) else Path(path).stat().st_size
    line, any_rows = 1, False
    with (
        file_errors(path),
        open_bytes(path) as file,
        tqdm(total=total, desc=label, unit="B", unit_scale=True, leave=False, disable=None) as bar,
    ):
        while data := file.read(BLOCK) + file.readline():
            bar.update(len(data))
            if line == 1:
                data = data.removeprefix(codecs.BOM_UTF8)
            rows = _split(path, line, data)
            line += data.count(b"\n")
            if rows.lines:
                any_rows = True
                yield rows
    if not any_rows:
        raise UserError(f"{path}: no rows; each line is a name and its values, between tabs")


def _split(path: str, first: int, data: bytes) -> TextRows:
    rows = TextRows(path, [], [], [], [])
    for number, line in enumerate(data.replace(b"\r\n", b"\n").split(b"\n"), first):
        if line:
            name, _, values = line.partition(b"\t")
            rows.lines.append(number)
            rows.names.append(name)
            rows.values.append(values)
            rows.widths.append(line.count(b"\t"))
    return rows


def check_first_row(rows: TextRows, what: str) -> None:
    """Raises UserError if the first row of a file is a header, as pandas and spreadsheets write one."""
    name, values = rows.names[0], rows.values[0].split(b"\t")
    if _is_header(name.strip(b'" ').lower(), [value.strip(b'" ') for value in values], what):
        shown = ", ".join(map(readable, (name, *values[:3])))
        rows.fail(0, f"is a header ({shown} ...), not a node; remove the line (in pandas: header=False)")


def _is_header(name: bytes, values: list[bytes], what: str) -> bool:
    """Returns whether a row is one of column labels: most often 0, 1, 2 ..., which could be read as a node's values."""
    numbers = [int(value) for value in values if value.isdigit() and len(value) < SHORT]
    counts = len(numbers) == len(values) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    if name not in HEADS or (what != FLOATS and name == b"0"):
        return what == FLOATS and counts and len(numbers) > 2 and numbers[0] == 0
    if counts and (numbers[0] == 0 or (numbers[0] == 1 and len(numbers) > 1)):
        return True
    return not name and any(values[1:])


def check_rows(rows: TextRows, width: int | None, what: str) -> int:
    """Check that names are UTF-8 without NUL bytes, and that all rows have `width` values.

    If `width` is None, the first row decides. `what` names the values in messages. Returns the width. Raises UserError.
    """
    width = width or rows.widths[0]
    for row, (name, found) in enumerate(zip(rows.names, rows.widths, strict=True)):
        if not found:
            rows.fail(row, f"a name without {what}; separate them with tabs")
        if found != width:
            rows.fail(row, f"{found} {what}, where the lines before have {width}; mend or remove the line")
        if not is_utf8(name) or b"\0" in name:
            _raise_bad_name(rows, row)
    return width


def _raise_bad_name(rows: TextRows, row: int) -> NoReturn:
    name = rows.names[row]
    problem, encoding = ("has a NUL byte", "UTF-16") if b"\0" in name else ("is not UTF-8", "LATIN1")
    rows.fail(row, f"the name {readable(name)} {problem}; mend it, or convert the file: iconv -f {encoding} -t UTF-8")


def floats(rows: TextRows, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns the values of checked rows as numbers, [rows, width]. Raises UserError unless all are finite in `dtype`.

    float16 values are rounded by way of float32, so they equal those of a float32 store that is converted later.
    """
    try:
        values = _cells(rows).cast(pa.string()).cast(pa.float32()).to_numpy()
    except pa.ArrowInvalid:
        _raise_bad_value(rows, dtype)
    values = _rounded(values, dtype)
    if not np.isfinite(values).all():
        _raise_bad_value(rows, dtype)
    return values.reshape(-1, width)


def _rounded(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):  # too large a value becomes infinity, which the callers look for
        return values.astype(dtype, copy=False)


def distinct(rows: TextRows, width: int) -> tuple[list[bytes], NDArray[np.int32]]:
    """Returns the distinct values of checked rows as names, and the position of each value in them, [rows, width]."""
    encoded = _cells(rows).dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().reshape(-1, width)


def _cells(rows: TextRows) -> Any:
    # One text for all rows: pyarrow splits it in one call.
    return pc.split_pattern(pa.array([b"\t".join(rows.values)], pa.binary()), b"\t").values


def _raise_bad_value(rows: TextRows, dtype: np.dtype[Any]) -> NoReturn:
    """Raises UserError about the first value that is no finite number. Values are parsed as `floats` parses them."""
    for row, values in enumerate(rows.values):
        for cell in values.split(b"\t"):
            try:
                value = pa.array([cell], pa.binary()).cast(pa.string()).cast(pa.float32()).to_numpy()
            except pa.ArrowInvalid:
                rows.fail(row, f"{readable(cell)} is not a number; {PLAIN}")
            if not np.isfinite(value).all():
                rows.fail(row, f"{readable(cell)} is not a finite float32; mend or remove the line")
            if not np.isfinite(_rounded(value, dtype)).all():
                rows.fail(row, f"{readable(cell)} is too large for {dtype.name}; build without --half")
    raise AssertionError("the block has a bad value, and none of its values is bad alone")


def is_utf8(name: bytes) -> bool:
    """Returns whether the bytes are valid UTF-8."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def readable(name: bytes) -> str:
    """Returns a name or value as it is shown in a message: quoted, escaped and cut to 100 characters."""
    text = name.decode(errors="backslashreplace")
    return repr(text if len(text) <= 100 else text[:100] + "...")
