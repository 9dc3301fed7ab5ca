"""Counts lines fast, so that no range of a file holds too many of them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stonkgs.source.file import BLOCK, file_errors, open_bytes
from stonkgs.source.split import END

Positions = npt.NDArray[np.int64]

_LF, _CR = ord("\n"), ord("\r")
#: Where lines have fewer bytes than this in the mean, blank ones are told from others.
SHORT = 8


def bounded_ranges(file: str, text: int, step: int, stop: int, most: int) -> Positions:
    """Returns ranges [splits, 2] from `text` to `stop` or the file's end, of `step` bytes and of `most` lines at most.

    Lines belong to the range in which they start; blank ones do not count. A file that is unlike its first part would
    otherwise have ranges of millions of lines. Reads the file, some 2 GB/s.
    """
    cuts, count, edge, end = [text], 0, text + step, text
    for base, data in _blocks(file, text, stop):
        codes, at, end = np.frombuffer(data, np.uint8), 1, base + len(data) - 2
        while at < len(data) - 2:
            to = min(edge - base, len(data) - 2)
            lines = int(np.count_nonzero(codes[at - 1 : to - 1] == _LF))
            if count + lines > most or lines * SHORT > to - at:
                starts = _starts(codes[at - 1 : to + 1]) + at - 1
                while len(starts) > most - count:
                    starts, count = starts[most - count :], 0
                    cuts.append(base + int(starts[0]))
                lines = len(starts)
            count, at = count + lines, to
            if base + at == edge:
                edge, count = edge + step, 0
    end = max(end if stop == END else stop, text)
    grid = np.arange(text, max(end, text + 1), step, dtype=np.int64)
    places = np.union1d(grid, np.array(cuts, np.int64))
    return np.stack([places, np.append(places[1:], end)], axis=1)


def _blocks(file: str, text: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Yields a file from `text` to `stop` in blocks, each with its offset. They overlap by three bytes.

    Where a line starts is told by the byte before it and by two bytes behind, so each block has these. Before the first
    one a newline is added, and behind the last one two.
    """
    with file_errors(file), open_bytes(file) as stream:
        stream.seek(text)
        base, held, left = text - 1, b"\n", stop - text
        while block := stream.read(min(4 * BLOCK, left)):
            left -= len(block)
            held += block
            if len(held) > 3:
                yield base, held
                base, held = base + len(held) - 3, held[-3:]
        yield base, held + b"\n\n"


def _starts(codes: npt.NDArray[np.uint8]) -> Positions:
    """Returns the places behind a newline where a line starts that is not blank, but for the last two places."""
    starts = np.flatnonzero(codes[:-2] == _LF) + 1
    blank = (codes[starts] == _LF) | ((codes[starts] == _CR) & (codes[starts + 1] == _LF))
    found: Positions = starts[~blank]
    return found


def line_ends(data: bytes) -> Positions:
    """Returns the places behind the newlines of lines that are not blank."""
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == _LF)
    length = np.diff(ends, prepend=-1)
    blank = (length == 1) | ((length == 2) & (codes[ends - 1] == _CR))
    found: Positions = ends[~blank] + 1
    return found
