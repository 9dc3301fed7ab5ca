"""The smallest files of each text format, and the line that planning ends with where one is no such file."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from stonkgs.errors import UserError
from stonkgs.source.base import Source
from stonkgs.source.csv import CsvSource
from stonkgs.source.jsonl import JsonlSource
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Rejection, Statement

Read = Callable[[Source, int], list[Statement | Rejection]]
Text = type[TsvSource] | type[CsvSource] | type[JsonlSource]
TSV = b"source\ttarget\tevidence\n"
CSV = b"source,target,evidence\n"
JSON = b'{"source": "S", "target": "T", "evidence": "E"}\n'
#: Of each text format: a start, and a row that goes on to it.
STARTS: dict[Text, tuple[bytes, bytes]] = {
    TsvSource: (TSV, b"S\tT\tE\n"),
    CsvSource: (CSV, b"S,T,E\n"),
    JsonlSource: (b"", JSON),
}
each = pytest.mark.parametrize("kind", STARTS)


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def written(folder: Path, data: bytes, name: str = "rows") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def refusal(source: Source) -> str:
    """The one line that planning ends with."""
    with pytest.raises(UserError) as error:
        source.plan(9)
    assert "\n" not in str(error.value)
    return str(error.value)
