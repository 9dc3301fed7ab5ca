"""Where the shared material lies, and the small model and store that most tests start from."""

import os
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

# Before torch is imported: see there.
import stonkgs.cli  # noqa: F401  # isort: skip
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tqdm import tqdm

# Its own lock is shared by all forks: one that is killed while it holds it would stop the others for ever.
tqdm.set_lock(RLock())

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("STONKGS_SHARED", ROOT.parent / "shared"))

#: Names of the small store's nodes, in its order: what a TSV reader takes for missing, quotes, more than ASCII.
NODES = ["p(HGNC:4910 ! HIF1A)", "NA", 'bp(GO:0006915 ! "apoptotic process")', "a(CHEBI:28748 ! β-Alanine)"]
NODES += [f"p(HGNC:{number})" for number in range(5, 120)]
WALK_LENGTH, HIDDEN = 5, 16
LABELS = ("incorrect", "correct")


#: What Lightning writes into the environment for the other processes of a training.
PROCESS_GROUP = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "NODE_RANK", "RANK", "LOCAL_RANK")


@pytest.fixture(autouse=True)
def no_process_group_is_left() -> Iterator[None]:
    """Lightning leaves the process group of a training behind: whatever is forked later would wait for it forever.

    What it leaves in the environment would tell a process that is started later that it is one of several.
    """
    before = {name: os.environ[name] for name in PROCESS_GROUP if name in os.environ}
    yield
    for name in PROCESS_GROUP:
        os.environ.pop(name, None)
    os.environ.update(before)
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        distributed.destroy_process_group()


@pytest.fixture(autouse=True)
def plots_are_not_rendered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What matplotlib makes of finished figures takes a second of each training: only where a test looks at it."""
    if "renders" not in request.keywords:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: file.write(b"not rendered"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """The first implementation's outputs on small checkpoints."""
    return _shared(SHARED / "golden")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The real corpora, read where they lie."""
    return _shared(Path(os.environ.get("STONKGS_CORPORA", SHARED / "data")))


@pytest.fixture(scope="session")
def cases() -> Path:
    """Small files of other people's kinds, each of which has once failed."""
    return _shared(SHARED / "cases")


def _shared(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"{path} is not here: the recorded outputs and real corpora are not part of the project")
    return path


@pytest.fixture(scope="session")
def kge_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of NODES with random vectors and walks; the last node has no walk."""
    from stonkgs.cli.kge import main

    folder = tmp_path_factory.mktemp("kge")
    random = np.random.default_rng(0)
    vectors = random.normal(size=(len(NODES), HIDDEN)).astype(np.float32)
    walks = [[name, *random.choice(NODES, WALK_LENGTH - 1)] for name in NODES[:-1]]
    write_lines(folder / "vectors.tsv", [[name, *map(str, row)] for name, row in zip(NODES, vectors, strict=True)])
    write_lines(folder / "walks.tsv", [[walk[0], *walk] for walk in walks])
    arguments = ["--vectors", "vectors.tsv", "--walks", "walks.tsv", "--output", "kge.h5"]
    main(["build", *[str(folder / word) if "." in word else word for word in arguments]])
    return folder / "kge.h5"


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of ours with random weights: two layers, 16 wide, 24 tokens of text."""
    from synthetic import write_model

    folder = tmp_path_factory.mktemp("model") / "model"
    return write_model(folder, hidden=HIDDEN, layers=2, text_length=24, walk_length=WALK_LENGTH)


@pytest.fixture
def small_run(tmp_path: Path, model_path: Path, kge_path: Path) -> list[str]:
    """Arguments of `predict` for three rows and the small model, into tmp_path / "out"."""
    rows = [["source", "target", "evidence"], [NODES[0], NODES[1], "HIF1A"], ["nobody", NODES[2], ""], ["", "", "x y"]]
    write_lines(tmp_path / "rows.tsv", rows)
    paths = {"model.path": model_path, "kge.path": kge_path, "source.path": tmp_path / "rows.tsv"}
    return [f"{key}={path}" for key, path in (paths | {"output_dir": tmp_path / "out"}).items()]


@pytest.fixture(scope="session")
def golden_kge(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that belongs to the recorded checkpoints."""
    from stonkgs.cli.kge import main

    upstream, path = golden / "upstream", tmp_path_factory.mktemp("golden") / "kge.h5"
    main(["build", "--vectors", f"{upstream}/kge.tsv", "--walks", f"{upstream}/walks.tsv", "--output", str(path)])
    return path


def write_lines(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Rows as bare tab-separated lines, quotes and all."""
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return path


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table, of a type that this release of Arrow may write but not read again: not all read null lists of a
    fixed size. Then the test is skipped.
    """
    pq.write_table(table, path)
    try:
        pq.read_table(path)
    except pa.ArrowInvalid as error:
        pytest.skip(f"this Arrow does not read what it has written: {error}")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes: the nearest to a full disk that needs no disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
