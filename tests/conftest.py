"""Where the shared material lies, and what several tests start from."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("STONKGS_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """The first implementation's outputs on small checkpoints."""
    return _shared(SHARED / "golden")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The real corpora, read where they lie."""
    return _shared(Path(os.environ.get("STONKGS_CORPORA", SHARED / "data")))


def _shared(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"{path} is not here: the recorded outputs and real corpora are not part of the project")
    return path
