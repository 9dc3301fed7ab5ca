"""Building a store from text: what goes in comes out, at constant memory, and every mistake names its line."""

import json
import math
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import file_size_limit

from stonkgs.cli import main
from stonkgs.errors import UserError
from stonkgs.kge.build import BuildSummary, build
from stonkgs.kge.layout import DTYPES
from stonkgs.kge.store import KgeStore

V = b"A\t1\t2\nB\t3\t4\nC\t5\t6\n"
W = b"B\tA\tB\tC\nA\tA\tA\tA\n"


Make = Callable[..., BuildSummary]
Opened = Callable[[], KgeStore]


def test_round_trip(make: Make, opened: Opened, tmp_path: Path) -> None:
    summary = make(V, W)
    store = opened()
    assert store.vectors.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert store.walks.tolist() == [[0, 0, 0], [0, 1, 2], [-1, -1, -1]]
    assert [store.name(number) for number in range(3)] == ["A", "B", "C"]
    assert summary[1:6] == (3, 2, 3, 1, 0)
    assert summary.size == (tmp_path / "k.h5").stat().st_size
    assert summary.digest == store.digest
    assert "3 nodes of 2 floats, walks of 3 nodes" in str(summary)
    assert "1 nodes without a walk" in str(summary)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.h5", "v.tsv", "w.tsv"]


def test_a_store_without_walks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v.tsv").write_bytes(V)
    summary = build(vectors=str(tmp_path / "v.tsv"), output=str(tmp_path / "k.h5"))
    assert (summary.nodes, summary.walk_length, summary.without_walk) == (3, 0, 3)
    assert "3 nodes of 2 floats, no walks\n3 nodes without a walk" in str(summary)
    store = KgeStore(path=tmp_path / "k.h5")
    assert (store.walk_length, store.walks.shape, store.walk(2).tolist()) == (0, (3, 0), [])
    assert (store.vectors.tolist(), store.number("B")) == ([[1, 2], [3, 4], [5, 6]], 1)
    assert json.loads(store.header.origin)["vectors"] == {"name": "v.tsv", "bytes": len(V)}
    assert "walks" not in json.loads(store.header.origin)
    assert main(["kge", "info", str(tmp_path / "k.h5")]) == 0
    assert "walk length   none: for models that read no walks\nwithout walk  3 nodes\n" in capsys.readouterr().out


def test_the_digest_tells_stores_apart(make: Make) -> None:
    graphs = [
        (V, W),
        (V.replace(b"6", b"7"), W),
        (V, W.replace(b"C", b"A")),
        (V.replace(b"C", b"D"), W.replace(b"C", b"D")),
        (b"AB\t1\nC\t2\n", b"C\tC\n"),
        (b"A\t1\nBC\t2\n", b"BC\tBC\n"),
    ]
    assert len({make(*graph, overwrite=True).digest for graph in graphs}) == len(graphs)


def test_the_digest_is_what_it_was(make: Make) -> None:
    """Models name their store by it: it does not change with the version, because the indexes follow from the names."""
    assert make(V, W).digest == "ce9b68ebd515764259492632feacc9462092b6ab9606c8afd95b783d9df8321d"


def test_half_precision(make: Make, opened: Opened, tmp_path: Path) -> None:
    values = [0.1, -65504, 65519, 1e-8, 2049, 6e-8]
    vectors = "\t".join(["A", *map(str, values)]).encode()
    full, summary = make(vectors, b"A\tA"), make(vectors, b"A\tA", half=True, overwrite=True)
    store = opened()
    assert store.vectors.tolist() == [np.array(values).astype(np.float16).tolist()]
    assert store.vectors.tolist()[0][1:4] == [-65504, 65504, 0]
    assert store.vectors.dtype == "<f2"
    assert summary.digest == store.digest != full.digest
    assert "1 nodes of 6 half-precision floats" in str(summary)
    with h5py.File(tmp_path / "k.h5") as file:
        assert file["vectors"].dtype == "<f2"


def test_half_precision_takes_half_the_room(make: Make) -> None:
    vectors = b"".join(b"%d" % node + b"\t1.5" * 1000 + b"\n" for node in range(50))
    full, half = make(vectors, b"1\t2\n"), make(vectors, b"1\t2\n", half=True, overwrite=True)
    assert full.size - half.size == pytest.approx(50 * 1000 * 2, abs=4096)


def test_repeated_names_keep_the_first_place_and_the_last_value(make: Make, opened: Opened) -> None:
    summary = make(b"A\t1\nB\t2\nA\t3\nC\t4\nB\t5\nB\t6\nD\t7\n", b"A\tA\nD\tA\nA\tC\nD\tB\n")
    store = opened()
    assert summary.repeated == 3
    assert [store.name(number) for number in range(4)] == ["A", "B", "C", "D"]
    assert store.vectors[:, 0].tolist() == [3, 6, 4, 7]
    assert store.walks[:, 0].tolist() == [2, -1, -1, 1]


@pytest.mark.parametrize(("block", "chunk"), [(1, 1), (50, 7), (300, 64), (1 << 20, 1 << 20)])
def test_where_the_pieces_are_cut_does_not_show(
    make: Make, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, chunk: int
) -> None:
    """Blocks of text, chunks of arrays, and buckets of the sort, against a plain reading of the same lines."""
    monkeypatch.setattr("stonkgs.kge.rows.BLOCK", block)
    monkeypatch.setattr("stonkgs.kge.index.CHUNK", chunk)
    monkeypatch.setattr("stonkgs.kge.index.BATCH", chunk)
    monkeypatch.setattr("stonkgs.kge.create.CHUNK", chunk)
    shuffled = random.Random(0)
    lines = [(f"p(X:{shuffled.randrange(60)} ! {shuffled.choice('AB')})", shuffled.random()) for _ in range(150)]
    last = dict(lines)
    walks = {name: shuffled.choices(list(last), k=3) for name in shuffled.sample(list(last), 20)}
    summary = make(
        "".join(f"{name}\t{value!r}\n" for name, value in lines).encode(),
        "".join("\t".join([name, *walk]) + "\n" for name, walk in walks.items()).encode(),
    )
    store = opened()
    assert [store.name(number) for number in range(store.nodes)] == list(last)
    np.testing.assert_array_equal(store.vectors[:, 0], np.array(list(last.values()), np.float32))
    assert [store.number(name) for name in last] == list(range(len(last)))
    for key in range(60):
        same = [number for number, name in enumerate(last) if name.startswith(f"p(X:{key} ")]
        assert store.identified(f"p(X:{key})") == (same[0] if len(same) == 1 else -1)
    for number, name in enumerate(last):
        assert [store.name(node) for node in store.walk(number) if node >= 0] == walks.get(name, [])
    assert (summary.repeated, summary.without_walk) == (len(lines) - len(last), len(last) - len(walks))


def test_the_file_is_what_the_format_says(make: Make, tmp_path: Path) -> None:
    make(V, W)
    with h5py.File(tmp_path / "k.h5") as file:
        assert set(file) == set(DTYPES)
        for name, dataset in file.items():
            assert (dataset.dtype.str, dataset.chunks) == (DTYPES[name][0], None)
            assert dataset.id.get_offset() % 4096 == 0
        attributes = dict(file.attrs)
        for name in ("hashes", "identifier_hashes"):
            assert (file[name][1:] >= file[name][:-1]).all()
    origin = json.loads(attributes.pop("origin").decode())
    assert origin["vectors"] == {"name": "v.tsv", "bytes": len(V)}
    assert origin["walks"] == {"name": "w.tsv", "bytes": len(W)}
    digest = attributes.pop("digest")
    assert attributes == {"format": b"stonkgs-kge", "version": 2, "dimension": 2, "walk_length": 3, "nodes": 3}
    assert len(digest) == 64


def test_an_output_is_replaced_only_on_demand(make: Make, opened: Opened) -> None:
    before = make(V, W).digest
    with pytest.raises(UserError, match=r"k\.h5: exists; .*--overwrite"):
        make(V + b"D\t7\t8\n", W)
    assert opened().digest == before
    with pytest.raises(UserError, match="line 4"):
        make(V + b"D\t7\n", W, overwrite=True)
    assert opened().digest == before, "a build that fails leaves the old store"
    assert make(V + b"D\t7\t8\n", W, overwrite=True).nodes == 4
    assert opened().nodes == 4


def test_an_output_that_cannot_be(make: Make, tmp_path: Path) -> None:
    make(V, W)
    vectors, walks = str(tmp_path / "v.tsv"), str(tmp_path / "w.tsv")
    cases = {
        "missing/k.h5": r"missing/k\.h5: cannot be written \(No such file or directory\); name a folder that exists",
        "v.tsv/k.h5": r"v\.tsv/k\.h5: cannot be written \(Not a directory\)",
        ".": "is a directory; name a file in it",
        "v.tsv": r"v\.tsv: is one of the inputs",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=message):
            build(vectors=vectors, walks=walks, output=str(tmp_path / name), overwrite=True)
    with pytest.raises(UserError, match=r"/proc/k\.h5: cannot be written"):
        build(vectors=vectors, walks=walks, output="/proc/k.h5")
    assert (tmp_path / "v.tsv").read_bytes() == V


@pytest.mark.parametrize("size", [100, 30_000])
def test_a_full_disk(tmp_path: Path, size: int) -> None:
    vectors = "".join(f"node {number}\t1\t2\t3\t4\n" for number in range(500)).encode()
    (tmp_path / "v.tsv").write_bytes(vectors)
    (tmp_path / "w.tsv").write_bytes(b"node 0\tnode 1\n")
    with (
        file_size_limit(size),
        pytest.raises(UserError, match=r"k\.h5: cannot be written \(File too large\); .* has room"),
    ):
        build(vectors=str(tmp_path / "v.tsv"), walks=str(tmp_path / "w.tsv"), output=str(tmp_path / "k.h5"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.tsv", "w.tsv"]


def test_memory_does_not_grow_with_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times the nodes, the same peak of Python and numpy memory."""
    sizes = {
        "rows.BLOCK": 16_384,
        "index.CHUNK": 1024,
        "index.BATCH": 256,
        "create.CHUNK": 1024,
        "build.CACHED_NAMES": 512,
    }
    for name, size in sizes.items():
        monkeypatch.setattr(f"stonkgs.kge.{name}", size)
    _peak(tmp_path, 100)  # what is imported and cached once
    small, large = _peak(tmp_path, 2500), _peak(tmp_path, 20_000)
    assert large < 1.25 * small, f"{small:,} bytes for 2,500 nodes, {large:,} for 20,000"


def _peak(folder: Path, nodes: int) -> int:
    vectors = "".join(f"p(X:{n:06} ! node)\t{n}\t1\n" for n in range(nodes)).encode()
    walks = "".join(f"p(X:{n:06} ! node)\tp(X:{(7 * n) % nodes:06} ! node)\n" for n in range(nodes)).encode()
    (folder / "v.tsv").write_bytes(vectors)
    (folder / "w.tsv").write_bytes(walks)
    del vectors, walks
    tracemalloc.start()
    try:
        build(vectors=str(folder / "v.tsv"), walks=str(folder / "w.tsv"), output=str(folder / "k.h5"), overwrite=True)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("graph", ["upstream"])
def test_the_first_implementations_graph(opened: Opened, golden: Path, tmp_path: Path, graph: str) -> None:
    """Against the simplest reading of the recorded files."""
    files = {name: str(golden / graph / f"{name}.tsv") for name in ("kge", "walks")}
    build(vectors=files["kge"], walks=files["walks"], output=str(tmp_path / "k.h5"))
    store = opened()
    vectors, walks = _table(files["kge"]), _table(files["walks"])
    numbers = {name: number for number, name in enumerate(vectors)}
    assert [store.name(number) for number in range(store.nodes)] == list(vectors)
    for name, values in vectors.items():
        assert math.isfinite(float(values[0]))
        np.testing.assert_array_equal(
            store.vectors[store.number(name)], np.array(values, np.float64).astype(np.float32)
        )
        assert store.walk(numbers[name]).tolist() == [numbers[node] for node in walks[name]]


def _table(path: str) -> dict[str, list[str]]:
    rows = [line.split("\t") for line in Path(path).read_text("utf-8").splitlines()]
    return {row[0]: row[1:] for row in rows}
