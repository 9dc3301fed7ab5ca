"""Model folders that a test may damage."""

import shutil
from pathlib import Path

import pytest
from synthetic import as_published


@pytest.fixture
def folder(model_path: Path, tmp_path: Path) -> Path:
    """A copy of the small model that a test may damage."""
    return Path(shutil.copytree(model_path, tmp_path / "copy"))


@pytest.fixture
def published(model_path: Path, tmp_path: Path) -> Path:
    """The small model as the first implementation would have left it."""
    return as_published(model_path, tmp_path / "published", nodes=119)


@pytest.fixture
def vocabulary(published: Path) -> Path:
    """The folder of its vocabulary."""
    return published.parent / "vocabulary"
