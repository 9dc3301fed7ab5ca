"""What is written, or not: names, formats, a full disk, what is there already."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aggregated import KINDS, ROWS, message, write
from conftest import file_size_limit

from stonkgs.aggregate import aggregate
from stonkgs.aggregate.write import writing_statements
from stonkgs.errors import UserError


def test_outputs_that_cannot_be(finished: Path, tmp_path: Path) -> None:
    place, classes = write(tmp_path / "p.parquet", ROWS), ("--classes", "incorrect,correct", "--overwrite")
    cases = {
        "s.csv": "s.csv: must end in .arrow, .jsonl, .parquet, .tsv, which says its format",
        "absent/s.tsv": "absent/s.tsv: cannot be written: No such file or directory",
        "p.parquet": "p.parquet: is what is read; name another output",
        "p.parquet/s.tsv": "p.parquet/s.tsv: cannot be written: Not a directory",
    }
    for name, told in cases.items():
        assert told in message(place, *classes, "--output", str(tmp_path / name))
    too_long = message(place, *classes, "--output", str(tmp_path / f"{'x' * 300}.tsv"))
    assert too_long.endswith("xx.tsv: cannot be written: File name too long; name a shorter path")
    (tmp_path / "folder.tsv").mkdir()
    assert "folder.tsv: is a folder; name a file in it" in message(place, *classes, "--output", tmp_path / "folder.tsv")
    assert "is among the parts" in message(finished, "--output", finished / "parts" / "s.parquet")
    for memory in ("1", "much", "-1GB", "80%", "''; drop"):
        assert "--memory " in message(place, *classes, f"--memory={memory}")
    told = message(place, *classes, "--memory", "99999999999999TB")
    assert told == "--memory 99999999999999TB: cannot be had; give another size, such as 500MB or 4GB"
    assert place.read_bytes() == write(tmp_path / "again.parquet", ROWS).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk(tmp_path: Path, kind: str) -> None:
    rows = [{"stmt_hash": n, "source": f"source {n * n}", "p": n / 999} for n in range(999)]
    place = write(tmp_path / "p.jsonl", rows)
    with file_size_limit(1000):
        told = message(place, "--classes", "p", "--output", tmp_path / f"s.{kind}")
    assert told == f"{tmp_path}/s.{kind}: cannot be written: File too large"


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_meanwhile_is_kept(tmp_path: Path, kind: str, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is to be replaced; also where there are no hard links, as os.link tells it there."""

    def refuse(*paths: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    table, output = pa.table({"a": [1, 2]}), tmp_path / f"s.{kind}"
    with (
        pytest.raises(UserError, match=r"s\.\w+: exists; name another output, or replace it with --overwrite"),
        writing_statements(output, table.schema, overwrite=False),
    ):
        output.write_text("another's")
    assert output.read_text() == "another's"
    with writing_statements(output, table.schema, overwrite=True) as write_table:
        write_table(table)
    written = output.read_bytes()
    assert written != b"another's"
    output.unlink()
    with writing_statements(output, table.schema, overwrite=False) as write_table:
        write_table(table)
    assert output.read_bytes() == written
    assert [*tmp_path.iterdir()] == [output]


def test_it_needs_no_lightning(tmp_path: Path) -> None:
    """Whose import takes longer than all the rest."""
    place = write(tmp_path / "p.parquet", ROWS)
    look = "import sys; from stonkgs.cli.aggregate import main\n"
    for kind in KINDS:
        output = str(tmp_path / f"s.{kind}")
        look += f"main({[str(place), '--classes', 'incorrect,correct', '--output', output]})\n"
    told = subprocess.run(
        [sys.executable, "-c", f"{look}print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout
    assert "duckdb" in told.split()
    assert not {"torch", "pytorch_lightning"} & set(told.split())


def test_texts_have_a_dictionary_and_numbers_none(tmp_path: Path) -> None:
    rows = [{"stmt_hash": n, "a.b": f"name {n % 2}", "p": n / 9} for n in range(9)]
    aggregate(write(tmp_path / "p.jsonl", rows), by=["stmt_hash", "a.b"], classes=["p"], output=tmp_path / "s.parquet")
    group = pq.read_metadata(tmp_path / "s.parquet").row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    with_dictionary = [column.path_in_schema for column in columns if column.has_dictionary_page]
    assert with_dictionary == ["a.b", "prediction"]
