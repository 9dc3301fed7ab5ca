"""What the store's tests share: building one from two texts, and a good one to damage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stonkgs.kge.build import BuildSummary, build
from stonkgs.kge.store import KgeStore

Make = Callable[..., BuildSummary]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Builds tmp_path / "k.h5" from the text of v.tsv and of w.tsv, and build's own options."""

    def write_and_build(vectors: bytes, walks: bytes, **options: Any) -> BuildSummary:
        (tmp_path / "v.tsv").write_bytes(vectors)
        (tmp_path / "w.tsv").write_bytes(walks)
        files = {name: str(tmp_path / name) for name in ("v.tsv", "w.tsv", "k.h5")}
        return build(vectors=files["v.tsv"], walks=files["w.tsv"], output=files["k.h5"], **options)

    return write_and_build


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], KgeStore]:
    """Opens what `make` built."""
    return lambda: KgeStore(path=str(tmp_path / "k.h5"))


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of seven nodes of five floats, walks of three nodes; the last node has none."""
    folder = tmp_path_factory.mktemp("kge")
    names = [f"p(HGNC:{number} ! node {number})" for number in range(7)]
    (folder / "v.tsv").write_text("".join(name + f"\t{number}.5" * 5 + "\n" for number, name in enumerate(names)))
    (folder / "w.tsv").write_text("".join(name + f"\t{names[3]}" * 3 + "\n" for name in names[:6]))
    build(vectors=str(folder / "v.tsv"), walks=str(folder / "w.tsv"), output=str(folder / "kge.h5"))
    return folder / "kge.h5"
