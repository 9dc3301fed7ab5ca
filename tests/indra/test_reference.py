"""The rows that INDRA and PyBEL themselves make: recorded, and made anew where there is a Python that has them."""

import gzip
import hashlib
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stonkgs.indra.convert import Converter
from stonkgs.statement import Statement

CORPUS = "indra_hbp_statements.jsonl.gz"
#: Of the lines that reference.py printed for CORPUS with INDRA 1.24.0 and PyBEL 0.15.5, sorted as `LC_ALL=C sort` does.
RECORDED = "b0bc32824438211eec8b8ae23746c35e7812f1f1e9e203140254e3683348c190"

Row = tuple[Any, ...]


@pytest.fixture
def indra_python() -> str:
    """An interpreter that has INDRA 1.24 and PyBEL 0.15.5."""
    python = os.environ.get("STONKGS_INDRA_PYTHON")
    if not python:
        pytest.skip("STONKGS_INDRA_PYTHON names no Python that has INDRA 1.24 and PyBEL 0.15.5")
    return python


def ours(statements: Iterable[Any]) -> Iterator[Row]:
    """Rows as reference.py prints them."""
    convert = Converter(missing_text="keep")
    for statement in statements:
        for row in convert(statement):
            if isinstance(row, Statement):
                yield row.extra["stmt_hash"], row.extra["belief"], row.source, row.target, row.evidence


def theirs(python: str, path: Path) -> Iterator[Row]:
    """Rows of a file of INDRA statements, by INDRA itself."""
    script = Path(__file__).with_name("reference.py")
    done = subprocess.run([python, str(script), str(path)], capture_output=True, text=True, check=True)
    return (tuple(json.loads(line)) for line in done.stdout.splitlines())


def corpus(folder: Path) -> Iterator[Any]:
    """The large corpus' statements."""
    with gzip.open(folder / CORPUS, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def test_the_recorded_digest(corpora: Path) -> None:
    rows = sorted(json.dumps(row) + "\n" for row in ours(corpus(corpora)))
    assert len(rows) == 49_453
    assert hashlib.sha256("".join(rows).encode()).hexdigest() == RECORDED


def test_a_real_corpus(corpora: Path, indra_python: str) -> None:
    assert Counter(ours(corpus(corpora))) == Counter(theirs(indra_python, corpora / CORPUS))


def test_statements_of_every_shape(sound: list[dict[str, Any]], indra_python: str, tmp_path: Path) -> None:
    path = tmp_path / "sound.jsonl"
    path.write_text("".join(json.dumps(statement) + "\n" for statement in sound), "utf-8")
    rows = Counter(theirs(indra_python, path))
    assert rows == Counter(ours(sound))
    assert sum(rows.values()) > len(sound)
