"""What the sources' tests share."""

from collections.abc import Callable

import pytest

from stonkgs.source.base import Source, SplitRows
from stonkgs.statement import Rejection, Statement

Read = Callable[[Source, int], list[Statement | Rejection]]


@pytest.fixture(scope="session")
def read() -> Read:
    """Plan a source with splits of so many rows, and read all of it; rejections get their line in the file."""
    return _read


def _read(source: Source, rows: int) -> list[Statement | Rejection]:
    records: list[Statement | Rejection] = []
    lines: dict[str, int] = {}
    reader = source.reader(source.plan(rows))
    for split in reader.plan:
        before = lines.setdefault(split.file, source.first_line(split.file))
        reading = SplitRows(reader.read(split))
        for record in reading:
            if isinstance(record, Rejection) and record.line is not None:
                record.line += before
            records.append(record)
        lines[split.file] += reading.tally.lines or 0
    return records
