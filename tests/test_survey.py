"""plan_only=true: what a run would meet, and nothing written."""

import gzip
from pathlib import Path

import pytest
from conftest import NODES, write_lines

from stonkgs.cli import main
from stonkgs.engine.plan_only import spread
from stonkgs.errors import duration


@pytest.fixture
def arguments(tmp_path: Path, model_path: Path, kge_path: Path) -> list[str]:
    """5,000 rows, half of their targets unknown, a tenth of their texts too long, one in ten rejected."""
    rows = [[NODES[0], "nobody" if n % 2 else NODES[2], "abc" if n % 10 else "abc " * 20] for n in range(5000)]
    for number in range(5, 5000, 10):
        rows[number] = ["bad"]
    path = write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], *rows])
    return [
        f"{key}={value}" for key, value in (("model.path", model_path), ("kge.path", kge_path), ("source.path", path))
    ]


def facts(printed: str) -> dict[str, str]:
    return {line[:10].strip(): line[11:] for line in printed.splitlines()}


def test_it_tells_and_writes_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["predict", "plan_only=true", *arguments]) == 0
    told = facts(capsys.readouterr().out)
    rows = int(told["rows"].split()[1].replace(",", ""))
    assert told["rows"].startswith("about ")
    assert abs(rows - 5000) < 250
    assert told["known"].startswith("sources 100.0%, targets 55.")
    assert told["rejected"].startswith("10.")
    assert told["texts cut"].startswith("11.")
    assert told["time"].startswith("about ")
    assert not list((tmp_path / "here").iterdir())


def test_rows_are_exact_where_they_are_known(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["predict", "plan_only=true", *arguments, "source.limit=7", "num_workers=2"]) == 0
    assert facts(capsys.readouterr().out)["rows"] == "7 in 1 splits of 1 files"


def test_the_model_runs_in_the_trainers_precision(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for precision in ("bf16-mixed", "bf16-true"):
        assert main(["predict", "plan_only=true", *arguments, f"trainer.precision={precision}"]) == 0
        assert "rows/s" in facts(capsys.readouterr().out)["time"]


def test_an_input_without_rows(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b"source\ttarget\tevidence\n"))
    assert main(["predict", "plan_only=true", *arguments[:2], f"source.path={tmp_path / 'empty.gz'}"]) == 0
    assert facts(capsys.readouterr().out)["time"] == "no row to tell by"


def test_the_sample_is_spread_over_the_input() -> None:
    assert spread(1, 8) == [0]
    assert spread(5, 8) == [0, 1, 2, 3, 4]
    assert spread(1000, 3) == [0, 500, 999] or spread(1000, 3) == [0, 499, 999]


@pytest.mark.parametrize(
    ("seconds", "told"), [(3.2, "3 s"), (600, "10 min"), (12_000, "3 h 20 min"), (200_000, "2 d 8 h")]
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_what_a_run_would_refuse_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "plan_only=true", *arguments, "writer.columns=[nothing]"]) == 1
    assert "the input has no column 'nothing'" in capsys.readouterr().err
