"""Real runs, over rows as INDRA's statements give them."""

import shutil
from functools import cache
from pathlib import Path

import pytest
from aggregated import ODD, Row, Run, write
from conftest import NODES

from stonkgs.cli import main


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, model_path: Path, kge_path: Path) -> Run:
    """The output_dir of a run of `stonkgs predict` in splits of 7 rows, by its writer and options; each is made once.

    Of 60 rows there are several to a statement, and some have no hash, no belief, no type.
    """

    @cache
    def made(kind: str, *options: str, source: str = "jsonl", model: Path = model_path) -> Path:
        folder = tmp_path_factory.mktemp("run")
        write(folder / f"rows.{source}", [_row(n) for n in range(60)])
        paths = {"source.path": folder / f"rows.{source}", "output_dir": folder / "out", "model.path": model}
        arguments = [f"{key}={path}" for key, path in (paths | {"kge.path": kge_path}).items()]
        command = ["predict", f"source={source}", f"writer={kind}", "split.rows=7", "trainer.accelerator=cpu"]
        assert main([*command, *options, *arguments]) == 0
        return folder / "out"

    return made


@pytest.fixture
def finished(run: Run, tmp_path: Path) -> Path:
    """A run whose parts are left."""
    return Path(shutil.copytree(run("parquet", "merge=false"), tmp_path / "run"))


def _row(n: int) -> Row:
    return {
        "source": NODES[n % 7],
        "target": NODES[n % 4],
        "evidence": f"sentence {n}\n" + 'with "quotes" ' * (n % 3),
        "stmt_hash": None if n % 11 == 5 else (-1) ** n * (2**53 + 1 + n % 9),
        "stmt_type": ["Activation", "Inhibition", None][n % 3],
        "belief": None if n % 5 == 0 else n / 100,
        ODD: [None, "", "x\ty", 'q"', "line\nbreak", "β"][n % 6],
    }
