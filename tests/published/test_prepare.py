"""What is made of the files: once, whole, by one process, and continued from wherever another was killed."""

import io
import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import file_size_limit
from published.conftest import Files, saved, without_backbone
from published.server import Site, held, stop

from stonkgs.cli import one_line
from stonkgs.errors import UserError
from stonkgs.kge.build import build
from stonkgs.model.digest import model_digest
from stonkgs.model.network import Network
from stonkgs.published.cache import Cache
from stonkgs.published.catalog import BACKBONE, GRAPH, MODELS, VECTORS, VOCABULARY, WALKS, Deposit
from stonkgs.published.prepare import model_path, store_path

SPECIES = MODELS["species"].deposit
#: Where the species model's weights lie on the site.
WEIGHTS = f"/api/records/{SPECIES.name}/files/pytorch_model.bin/content"


def digest(name: str) -> str:
    """Of a prepared model."""
    return model_digest(Network.from_pretrained(model_path(name)))


@pytest.fixture(scope="module")
def wanted(shelves: dict[str, Files], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the species model, made without a network of files that somebody has put there."""
    cache = tmp_path_factory.mktemp("by-hand")
    put(cache, shelves, SPECIES, GRAPH, VOCABULARY)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("STONKGS_CACHE", str(cache))
        return digest("species")


def put(cache: Path, shelves: dict[str, Files], *deposits: Deposit) -> None:
    """Files where a person puts them."""
    for deposit in deposits:
        folder = cache / "files" / deposit.folder
        folder.mkdir(parents=True)
        for name in deposit.files:
            (folder / name).write_bytes(shelves[deposit.name][name])


def leave_parts(cache: Path, shelves: dict[str, Files]) -> None:
    """Killed while it fetched."""
    for deposit, name in ((SPECIES, "pytorch_model.bin"), (GRAPH, VECTORS)):
        folder = cache / "files" / deposit.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.part").write_bytes(shelves[deposit.name][name][:5000])


def leave_half_a_store(cache: Path, shelves: dict[str, Files]) -> None:
    """Killed while it built."""
    cache.mkdir()
    (cache / "kge.h5.tmp-123").write_bytes(b"half")


def leave_a_store(cache: Path, shelves: dict[str, Files]) -> None:
    """Killed before it converted; the graph's files were then removed, to have room."""
    put(cache, shelves, GRAPH)
    files = cache / "files" / GRAPH.folder
    build(vectors=str(files / VECTORS), walks=str(files / WALKS), output=str(cache / "kge.h5"))
    shutil.rmtree(files)


def leave_graph(cache: Path, shelves: dict[str, Files]) -> None:
    """Killed before it built."""
    put(cache, shelves, GRAPH)


def leave_half_a_model(cache: Path, shelves: dict[str, Files]) -> None:
    """Killed while it converted."""
    leave_a_store(cache, shelves)
    (cache / "models" / "species.tmp-123").mkdir(parents=True)
    (cache / "models" / "species.tmp-123" / "model.safetensors").write_bytes(b"half")


@pytest.mark.parametrize(
    ("leave", "asked"),
    [
        (leave_parts, {VECTORS, WALKS, "config.json", "pytorch_model.bin"}),
        (leave_half_a_store, {VECTORS, WALKS, "config.json", "pytorch_model.bin"}),
        (leave_graph, {"config.json", "pytorch_model.bin"}),
        (leave_a_store, {"config.json", "pytorch_model.bin"}),
        (leave_half_a_model, {"config.json", "pytorch_model.bin"}),
    ],
)
def test_killed_at_any_step_it_is_continued(
    leave: Callable[[Path, dict[str, Files]], None],
    asked: set[str],
    site: Site,
    cache: Path,
    shelves: dict[str, Files],
    wanted: str,
) -> None:
    leave(cache, shelves)
    assert digest("species") == wanted
    assert {found[1] for found in (re.search(r"/files/(.*)/content", a.path) for a in site.asked) if found} == asked
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "files", "kge.h5", "models"]
    assert [path.name for path in (cache / "models").iterdir()] == ["species"]
    assert not list(cache.rglob("*.part"))


def test_it_is_made_once(site: Site, cache: Path, wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert digest("species") == wanted
    assert store_path() == cache / "kge.h5"
    asked = len(site.asked)
    shutil.rmtree(cache / "files")
    stop(site)
    capsys.readouterr()
    assert digest("species") == wanted
    assert store_path() == cache / "kge.h5"
    assert capsys.readouterr() == ("", "")
    assert len(site.asked) == asked


def test_a_cache_that_is_only_read_is_enough(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator has filled it, and others use it: no lock is taken."""
    model_path("species")
    monkeypatch.setattr(Cache, "locked", lambda self: pytest.fail("taken"))
    assert model_path("species").exists()


def test_a_second_model_shares_the_store(site: Site, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_path("species")
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"made {cache}/kge.h5 and {cache}/models/species; the files in {cache}/files are not needed")
    before = len(site.asked)
    model_path("stonkgs-150k")
    assert {asked.path.split("/")[2] for asked in site.asked[before:]} == {"stonkgs-150k"}
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"made {cache}/models/stonkgs-150k; ")
    assert Network.from_pretrained(cache / "models" / "stonkgs-150k").config.labels == ()


def test_the_store_alone(site: Site, cache: Path) -> None:
    assert store_path() == cache / "kge.h5"
    assert {asked.path.split("/")[3] for asked in site.asked} == {GRAPH.name}
    assert not list((cache / "models").iterdir())


def test_without_its_text_backbone(site: Site, cache: Path, wanted: str) -> None:
    """The same model, of two checkpoints; and another one's digest does not depend on what lies there since."""
    site.records[SPECIES.name] = dict(without_backbone(site.records[SPECIES.name]))
    assert digest("species") == wanted
    folder = cache / "files" / BACKBONE.folder
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "pytorch_model.bin", "vocab.txt"]


def test_another_vocabulary(site: Site, cache: Path) -> None:
    folder = cache / "files" / VOCABULARY.folder
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("[PAD]\n" * 28_995)
    with pytest.raises(UserError, match=r"vocab.txt: 28,995 lines, but the vocabulary of .* has 28,996; remove"):
        model_path("species")
    (folder / "vocab.txt").unlink()
    assert model_path("species").exists()


def test_a_checkpoint_put_there_that_is_none(site: Site, cache: Path) -> None:
    folder = cache / "files" / SPECIES.folder
    folder.mkdir(parents=True)
    (folder / "pytorch_model.bin").write_bytes(b"not weights")
    with pytest.raises(UserError, match=f"{folder}/pytorch_model.bin: not readable as weights alone"):
        model_path("species")
    assert not list((cache / "models").iterdir())


def test_all_that_is_missing_is_in_the_line(site: Site, cache: Path) -> None:
    stop(site)
    with pytest.raises(UserError) as caught:
        model_path("species")
    record = "https://zenodo.org/records"
    assert one_line(caught.value) == (
        f"cannot fetch {record}/5205687 (Connection refused); the same command tries again, or fetch elsewhere "
        f"{VECTORS} and {WALKS} of {record}/5205687 into {cache}/files/zenodo-5205687/, "
        f"config.json and pytorch_model.bin of {record}/5205530 into {cache}/files/zenodo-5205530/, "
        f"vocab.txt of https://huggingface.co/dmis-lab/biobert-v1.1 into {cache}/files/biobert-v1.1/"
    )


def test_the_disk_is_full_of_what_is_made(cache: Path, shelves: dict[str, Files], wanted: str) -> None:
    put(cache, shelves, SPECIES, GRAPH, VOCABULARY)
    for limit, left in ((20_000, cache / "kge.h5"), (1_000_000, cache / "models" / "species")):
        with file_size_limit(limit), pytest.raises(UserError, match=f"^{left}: cannot be written"):
            model_path("species")
        assert not left.exists()
    assert digest("species") == wanted


@pytest.mark.parametrize("there", ["file", "forbidden"])
def test_a_cache_that_cannot_be_written(there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    if there == "file":
        folder.write_text("")
    else:
        folder = Path("/proc/1/cache")
    monkeypatch.setenv("STONKGS_CACHE", str(folder))
    with pytest.raises(UserError) as caught:
        store_path()
    assert str(caught.value).startswith(f"{folder}: keeps published models, and cannot be used: ")
    assert str(caught.value).endswith("STONKGS_CACHE= names another folder")


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"STONKGS_CACHE": "/here", "XDG_CACHE_HOME": "/there"}, "/here"),
        ({"STONKGS_CACHE": "~/here"}, "/home/me/here"),
        ({"XDG_CACHE_HOME": "/there"}, "/there/stonkgs"),
        ({"XDG_CACHE_HOME": "there"}, "/home/me/.cache/stonkgs"),
        ({"STONKGS_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/stonkgs"),
        ({}, "/home/me/.cache/stonkgs"),
    ],
)
def test_where_it_is(variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STONKGS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (variables | {"HOME": "/home/me"}).items():
        monkeypatch.setenv(name, value)
    assert Cache.of_user().root == Path(wanted)


def large(site: Site) -> None:
    """Give the species model weights of 13 MB that nothing reads, as the published ones have some."""
    file = site.records[SPECIES.name]
    weights = torch.load(io.BytesIO(file["pytorch_model.bin"]), weights_only=True)
    weights["cls.predictions.decoder.weight"] = torch.zeros(3_000_000)
    site.records[SPECIES.name] = {**file, "pytorch_model.bin": saved(weights)}


class Asking:
    """A fork that asks for the species model, and what it says."""

    def __init__(self) -> None:
        self._says, said = os.pipe()
        self.process = multiprocessing.get_context("fork").Process(target=self._ask, args=(said,))
        self.process.start()
        os.close(said)

    def _ask(self, said: int) -> None:
        sys.stderr = os.fdopen(said, "w", buffering=1)
        torch.set_num_threads(1)  # the threads of the parent's pool are not here
        model_path("species")

    def lines(self) -> Iterator[str]:
        with os.fdopen(self._says) as says:
            yield from says

    def wait(self) -> int | None:
        self.process.join(100)
        return self.process.exitcode


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 100
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_in_a_download_for_good(site: Site, cache: Path, wanted: str) -> None:
    large(site)
    never = threading.Event()
    site.faults[WEIGHTS] = [held(12_000_000, never)]
    asking = Asking()
    part = cache / "files" / SPECIES.folder / "pytorch_model.bin.part"
    wait_for(lambda: part.exists() and part.stat().st_size >= 10 << 20)
    asking.process.kill()
    assert list(asking.lines())
    assert asking.wait() == -signal.SIGKILL
    never.set()
    assert not (cache / "models" / "species").exists()
    assert digest("species") == wanted
    first, second = (asked.range for asked in site.asked if asked.path == WEIGHTS)
    assert first is None
    assert second
    assert 10 << 20 <= int(second.removeprefix("bytes=").removesuffix("-")) <= 12_000_000


def test_two_at_once_fetch_once(site: Site, cache: Path, wanted: str) -> None:
    """One waits for the other, says so, and is then through without a question to the network."""
    waits = threading.Event()
    site.faults[WEIGHTS] = [held(1000, waits)]
    told: list[str] = []

    def listen(asking: Asking) -> None:
        for line in asking.lines():
            told.append(line)
            if line.startswith("waiting for another process that fetches or prepares"):
                waits.set()

    both = [Asking(), Asking()]
    listeners = [threading.Thread(target=listen, args=(asking,)) for asking in both]
    for listener in listeners:
        listener.start()
    assert [asking.wait() for asking in both] == [0, 0]
    for listener in listeners:
        listener.join()
    assert waits.is_set()
    assert sorted(line.split()[0] for line in told) == ["fetching", "made", "waiting"]
    paths = [asked.path for asked in site.asked if asked.method == "GET"]
    assert len(paths) == len(set(paths)) == 7
    assert digest("species") == wanted
    assert list((cache / "models").iterdir()) == [cache / "models" / "species"]
