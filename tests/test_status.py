"""`stonkgs status DIR`: of a run that is under way, one that has died, one that is finished, and none."""

import os
import signal
from pathlib import Path

import forks
import pytest
from conftest import NODES, write_lines

from stonkgs.cli import main
from stonkgs.runs import presence
from stonkgs.writer.base import PredictionWriter


def told(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert main(["status", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line[:10].strip(): line[10:].strip() for line in lines}


@pytest.fixture
def job(tmp_path: Path, small_run: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ten splits of ten rows, the first of them unusable; and processes that tell of every batch."""
    monkeypatch.setattr(presence, "INTERVAL", 0.0)
    rows = [[NODES[0], NODES[1], "HIF1A"] for _ in range(99)]
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], ["bad"], *rows])
    return [*small_run, "threads=1", "split.rows=10", "batch.size=5"]


def test_under_way_and_dead(job: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stop_at_the_fifth() -> None:
        """In the middle of a split, as a process that is busy with a batch."""
        add = PredictionWriter.add
        seen = 0

        def counted(*arguments: object) -> None:
            nonlocal seen
            add(*arguments)  # type: ignore[arg-type]
            if (seen := seen + 1) == 9:
                os.kill(os.getpid(), signal.SIGSTOP)

        PredictionWriter.add = counted  # type: ignore[method-assign,assignment]

    number = forks.fork(job, log=tmp_path / "log", before=stop_at_the_fifth)
    os.waitpid(number, os.WUNTRACED)
    try:
        facts = told(tmp_path / "out", capsys)
    finally:
        os.kill(number, signal.SIGKILL)
    assert facts["splits"] == "4 of 10 (40%)"
    assert facts["rejected"] == "1"
    assert int(facts["rows read"]) > 30
    assert facts["time left"] not in ("", "unknown")
    assert f":{number} " in facts["process"]
    assert "rows/s   holds splits 4   reported" in facts["process"]
    os.waitpid(number, 0)
    facts = told(tmp_path / "out", capsys)
    assert "   gone   " in facts["process"]
    assert facts["rate"] == "0.0 rows/s"
    assert facts["time left"] == "unknown: no process works on it; the same command continues"
    forks.run(job, tmp_path / "log")
    assert told(tmp_path / "out", capsys)["predicted"].startswith("99")


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert main(["status", str(folder)]) == 1
        assert capsys.readouterr().err == f"error: {folder}: no run has written here\n"
