"""Damaged input through the whole command: one line, or every row accounted for."""

import contextlib
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import NODES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stonkgs.cli import main

ROWS = [(NODES[n % 5], "nobody" if n % 3 else NODES[2], f'a "{n}" acts\ton') for n in range(12)]
FILES = {
    "tsv": "source\ttarget\tevidence\n"
    + "".join(f'{s}\t{t}\t"{e.replace(chr(34), chr(34) * 2)}"\n' for s, t, e in ROWS),
    "csv": "source,target,evidence\n" + "".join(f'x,y,"{e.replace(chr(34), chr(34) * 2)}"\n' for s, t, e in ROWS),
    "jsonl": "".join(json.dumps({"source": s, "target": t, "evidence": e, "n": len(e)}) + "\n" for s, t, e in ROWS),
}
#: (place, what is put there instead of how many bytes)
DAMAGE = st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=6), st.integers(0, 6)), max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(damage=DAMAGE, rows=st.integers(1, 20))
def test_damaged_files(
    kind: str, damage: list[tuple[int, bytes, int]], rows: int, folder: Path, model_path: Path, kge_path: Path
) -> None:
    content = FILES[kind].encode()
    for place, replacement, length in damage:
        content = content[:place] + replacement + content[place + length :]
    (folder / "rows").write_bytes(content)
    paths = {
        "source.path": folder / "rows",
        "model.path": model_path,
        "kge.path": kge_path,
        "output_dir": folder / "out",
    }
    told, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(said):
        status = main(
            ["predict", f"source={kind}", "writer=parquet", "overwrite=true", f"split.rows={rows}"]
            + [f"{key}={value}" for key, value in paths.items()]
        )
    if status:
        assert status == 1
        assert told.getvalue().startswith("error: ")
        assert told.getvalue().count("\n") == 1
        assert "unexpected" not in told.getvalue()
        return
    assert told.getvalue() == ""
    result = json.loads((folder / "out" / "run.json").read_text())["result"]
    assert result["read"] == result["predicted"] + result["rejected"]
    assert result["predicted"] == pq.read_metadata(folder / "out" / "predictions.parquet").num_rows
    assert result["rejected"] == len((folder / "out" / "rejected.jsonl").read_bytes().splitlines())
    if not damage:
        assert result["predicted"] == len(ROWS)
