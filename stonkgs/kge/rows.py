"""The text files that a store is built from: a name and its values per line, between tabs, without quotes or header."""

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

#: bytes of text in memory at a time; a longer line is read whole
BLOCK = 4 << 20

#: what values look like
PLAIN = "there is no header line, and no quotes, blanks or decimal commas"


class Rows(NamedTuple):
    """Some lines of a file, blank ones left out."""

    file: str
    lines: list[int]
    """Their numbers in the file, from 1."""
    names: list[bytes]
    values: list[bytes]
    """What follows the name's tab."""
    widths: list[int]
    """How many values each has."""

    def fail(self, row: int, what: str) -> NoReturn:
        """Raise the error of one of these rows."""
        raise UserError(f"{self.file}, line {self.lines[row]}: {what}")


def read_rows(path: str, label: str) -> Iterator[Rows]:
    """A file's rows, a block at a time; UserError where it cannot be read or has none."""
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


def _split(path: str, first: int, data: bytes) -> Rows:
    rows = Rows(path, [], [], [], [])
    for number, line in enumerate(data.replace(b"\r\n", b"\n").split(b"\n"), first):
        if line:
            name, _, values = line.partition(b"\t")
            rows.lines.append(number)
            rows.names.append(name)
            rows.values.append(values)
            rows.widths.append(line.count(b"\t"))
    return rows


def check_rows(rows: Rows, width: int | None, what: str) -> int:
    """Names are UTF-8 without NUL, and all rows have `width` values, None for the first row's; returns the width."""
    width = width or rows.widths[0]
    for row, (name, found) in enumerate(zip(rows.names, rows.widths, strict=True)):
        if not found:
            rows.fail(row, f"a name without {what}; separate them with tabs")
        if found != width:
            rows.fail(row, f"{found} {what}, where the lines before have {width}; mend or remove the line")
        if not is_utf8(name) or b"\0" in name:
            _blame_name(rows, row)
    return width


def _blame_name(rows: Rows, row: int) -> NoReturn:
    name = rows.names[row]
    problem, encoding = ("has a NUL byte", "UTF-16") if b"\0" in name else ("is not UTF-8", "LATIN1")
    rows.fail(row, f"the name {readable(name)} {problem}; mend it, or convert the file: iconv -f {encoding} -t UTF-8")


def floats(rows: Rows, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of checked rows as numbers, [rows, width]; UserError unless all are finite in `dtype`.

    For float16 they are rounded twice, as whoever halves a float32 store does.
    """
    try:
        values = _cells(rows).cast(pa.string()).cast(pa.float32()).to_numpy()
    except pa.ArrowInvalid:
        return _blame(rows, dtype)
    values = _rounded(values, dtype)
    if not np.isfinite(values).all():
        return _blame(rows, dtype)
    return values.reshape(-1, width)


def _rounded(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):  # beyond float16 is infinity, which is looked for
        return values.astype(dtype, copy=False)


def distinct(rows: Rows, width: int) -> tuple[list[bytes], NDArray[np.int32]]:
    """The values of checked rows as names: the distinct ones, and for each place [rows, width] its position there."""
    encoded = _cells(rows).dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().reshape(-1, width)


def _cells(rows: Rows) -> Any:
    # One string for the whole block: pyarrow then splits all rows in one call.
    return pc.split_pattern(pa.array([b"\t".join(rows.values)], pa.binary()), b"\t").values


def _blame(rows: Rows, dtype: np.dtype[Any]) -> NoReturn:
    """Raise the error of the first value that is not a finite number, read as the whole block is."""
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
    raise AssertionError("a block was refused, and none of its values is")


def is_utf8(name: bytes) -> bool:
    """Whether the bytes are text."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def readable(name: bytes) -> str:
    """A name or value for an error message."""
    text = name.decode(errors="backslashreplace")
    return repr(text if len(text) <= 100 else text[:100] + "...")
