"""What somebody at a terminal sees."""

import io
from collections.abc import Sequence

import numpy as np
import pytest

from stonkgs.batch import NO_COLUMNS, Batch, SplitEnd
from stonkgs.engine.progress import RowProgress
from stonkgs.statement import Rejection, Tally


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def batch(rows: int, end: SplitEnd | None = None, rejected: Sequence[Rejection] = ()) -> Batch:
    return Batch(0, np.arange(rows), {}, NO_COLUMNS, list(rejected), end)


def shown(screen: io.StringIO, rows: int | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The last state of a bar over four splits, of which two of 30 rows are through, one row of them rejected."""
    monkeypatch.setattr("sys.stderr", screen)
    progress = RowProgress(splits=4, rows=rows)
    progress.on_predict_start(None, None)  # type: ignore[arg-type]
    progress.bar.mininterval = 0
    rejection = Rejection("in.tsv", "two fields", b"x")
    end = SplitEnd(Tally(30))
    for given in (batch(20), batch(10, end), batch(20), batch(9, end, [rejection])):
        progress.on_predict_batch_end(None, None, None, given, 0)  # type: ignore[arg-type]
    progress.bar.refresh()
    state = screen.getvalue().split("\r")[-1]
    progress.on_predict_end(None, None)  # type: ignore[arg-type]
    return state


def test_rows_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    state = shown(Terminal(), 200, monkeypatch)
    assert "60/200" in state
    assert " rows/s" in state
    assert "<" in state, "time left"


def test_an_unknown_total_is_estimated_from_the_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "60/120" in shown(Terminal(), None, monkeypatch)


def test_quiet_where_nobody_is_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(io.StringIO(), 200, monkeypatch) == ""
