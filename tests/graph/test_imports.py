"""Vectors from other programs: each form gives the same store, and what is broken or hostile one line."""

import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from stonkgs.cli.kge import main
from stonkgs.errors import UserError
from stonkgs.kge import foreign
from stonkgs.kge.store import KgeStore

#: Names as they occur: with blanks, quotes, and letters of other alphabets.
NAMES = ["p(HGNC:1 ! A)", 'a "quoted" name', "β-catenin", "lonely", "with  two blanks"]
VECTORS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
TRIPLES = [(NAMES[0], NAMES[1]), (NAMES[1], NAMES[2]), (NAMES[2], NAMES[4]), (NAMES[0], "without a vector")]
ENTITY, RELATION = foreign.TABLES

Write = Callable[[Path], list[str]]


def as_text(folder: Path, name: str = "v.txt", end: str = "\n") -> list[str]:
    lines = [f"{len(NAMES)} 3"]
    lines += [
        " ".join([name, *(repr(float(value)) for value in row)]) for name, row in zip(NAMES, VECTORS, strict=True)
    ]
    content = (end.join(lines) + end).encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return ["--vectors", str(folder / name)]


def as_array(folder: Path, dtype: str = "f4") -> list[str]:
    np.save(folder / "v.npy", np.asfortranarray(VECTORS.astype(dtype)))
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in NAMES), "utf-8")
    return ["--vectors", str(folder / "v.npy"), "--names", str(folder / "names.txt")]


def as_pykeen(folder: Path, relations: int = 0) -> list[str]:
    """A folder as save_to_directory of PyKEEN 1.11 writes it, with the weights as we ask for them."""
    place = folder / "result"
    (place / "training_triples").mkdir(parents=True)
    (place / "trained_model.pkl").write_bytes(b"never read")
    for file, names in (("entity", NAMES), ("relation", ["is", "of"])):
        text = pd.DataFrame({"id": range(len(names)), "label": names}).to_csv(sep="\t", index=False)
        (place / "training_triples" / f"{file}_to_id.tsv.gz").write_bytes(gzip.compress(text.encode()))
    tables = {ENTITY: VECTORS} | ({RELATION: VECTORS[:relations] + 1} if relations else {})
    save_file(tables, place / "model.safetensors")
    return ["--vectors", str(place)]


def imported(folder: Path, *options: str, triples: list[tuple[str, str]] | None = None) -> KgeStore:
    output = str(folder / "kge.h5")
    arguments = ["import", *options, "--output", output, "--walk-length", "8"]
    if triples is not None:
        (folder / "t.tsv").write_text("".join(f"{a}\tr\t{b}\n" for a, b in triples), "utf-8")
        arguments += ["--triples", str(folder / "t.tsv")]
    assert main(arguments) == 0
    return KgeStore(path=output)


@pytest.mark.parametrize(
    "write",
    [as_text, lambda folder: as_text(folder, "v.vec.gz"), lambda folder: as_text(folder, end=" \r\n"), as_array,
     lambda folder: as_array(folder, "f8"), as_pykeen],
)  # fmt: skip
def test_each_form_gives_the_same_store(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "BLOCK", 2)
    store = imported(tmp_path, *write(tmp_path), triples=TRIPLES)
    assert [store.name(node) for node in range(store.nodes)] == NAMES
    assert [store.number(name) for name in NAMES] == [*range(5)]
    assert store.vectors.tobytes() == VECTORS.tobytes()
    edges = {(0, 1), (1, 0), (1, 2), (2, 1), (2, 4), (4, 2)}
    for node in (0, 1, 2, 4):
        walk = store.walk(node).tolist()
        assert walk[0] == node
        assert set(pairwise(walk)) <= edges
    assert store.walk(3).tolist() == [-1] * 8
    said = capsys.readouterr().out
    assert "5 nodes of 3 floats" in said
    assert "1 nodes without one" in said
    assert "1 triples are not walked on: a node of it has no vector" in said


@pytest.mark.parametrize("write", [as_text, as_array, as_pykeen])
def test_wide_vectors_are_read_few_at_a_time(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path, *names = write(tmp_path)
    monkeypatch.setattr(foreign, "BYTES", 25)  # two vectors of three float32, or one line
    blocks = list(foreign.read_foreign(path, names[1] if names else None))
    assert [len(block.names) for block in blocks] == ([1] * 5 if write is as_text else [2, 2, 1])
    assert np.concatenate([block.vectors for block in blocks]).tobytes() == VECTORS.tobytes()


def test_without_triples_there_are_no_walks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = imported(tmp_path, *as_text(tmp_path), "--half")
    assert store.walk_length == 0
    assert store.vectors.dtype == np.float16
    assert "no walks" in capsys.readouterr().out


def test_relations_of_a_result_of_pykeen_stand_behind_its_entities(tmp_path: Path) -> None:
    store = imported(tmp_path, *as_pykeen(tmp_path, relations=2), triples=TRIPLES)
    assert store.number("of") == 6
    assert np.array_equal(store.vectors[5:], VECTORS[:2] + 1)


@given(st.lists(st.text(st.characters(exclude_characters="\0\n\r ", exclude_categories=["Cs"]), min_size=1), min_size=1,
                unique=True, max_size=8))  # fmt: skip
def test_any_name_is_read_back_from_text(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    file = tmp_path_factory.mktemp("t") / "v.txt"
    file.write_bytes(f"{len(names)} 2\n".encode() + b"".join(f"{name} x 1 -2.5\n".encode() for name in names))
    (block,) = foreign.read_foreign(str(file), None)
    assert block.names == [f"{name} x".encode() for name in names]
    assert (block.vectors == [1, -2.5]).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: is not the first line"),
        (b"a\t1\t2\n", "line 1: is not the first line"),
        (b"1 0\na\n", "line 1: is not the first line"),
        (b"1 999999\na 1\n", "line 1: is not the first line"),
        (b"2 2\na 1 2\n", "its first line names 2 vectors, and it has 1"),
        (b"1 2\na 1 2\nb 1 2\n", "its first line names 1 vectors, and it has 2"),
        (b"99999999 2\na 1 2\n", "its first line names 99,999,999 vectors"),
        (b"1 2\na 1\n", "line 2: 1 floats, where the lines before have 2|line 2: "),
        (b"2 2\na 1 2\na 3 4\n", "the name 'a' is there twice"),
        (b"1 2\na 1 x\n", "line 2: 'x' is not a number"),
        (b"1 2\na 1 nan\n", "line 2: 'nan' is not a finite float32"),
        (b"1 2\na 1 1e99\n", "line 2: '1e99' is not a finite float32"),
        (b"1 2\n\xff 1 2\n", "line 2: the name .* is not UTF-8"),
        (b"1 2\na\0 1 2\n", "line 2: the name .* has a NUL byte"),
        (b"1 2\n 1 2\n", "line 2: a vector without a name"),
        (b"1 2\n" + b"a" * (foreign.LONGEST + 5) + b" 1 2\n", "line 2: record of over"),
    ],
)
def test_broken_text_gives_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "v.txt").write_bytes(content)
    _refused(tmp_path, ["--vectors", str(tmp_path / "v.txt")], message)


def _refused(folder: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        imported(folder, *options)
    assert "\n" not in str(caught.value)
    assert not [*folder.glob("kge.h5*")]


def _array(folder: Path, array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", pickled: bool = False) -> None:
    np.save(folder / "v.npy", array, allow_pickle=pickled)


def _zipped(folder: Path) -> None:
    with (folder / "v.npy").open("wb") as file:
        np.savez(file, VECTORS)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "v.npy").write_bytes(b"\x93NUMPY"), r"is no whole \.npy"),
        (lambda folder: (folder / "v.npy").write_bytes((folder / "v.npy").read_bytes()[:-4]), r"is no whole \.npy"),
        (lambda folder: (folder / "v.npy").unlink(), "No such file"),
        (lambda folder: (folder / "names.txt").write_text("a" * 70_000), "line 1: record of over"),
        (_zipped, r"is no whole \.npy"),
        (lambda folder: _array(folder, np.array([[{}]], object), pickled=True), r"is no whole \.npy"),
        (lambda folder: _array(folder, np.zeros((5, 3), int)), r"int64 \[5, 3\], and vectors are floats"),
        (lambda folder: _array(folder, np.zeros(5)), r"float64 \[5\]"),
        (lambda folder: _array(folder, np.zeros((0, 3))), r"\[0, 3\]"),
        (lambda folder: _array(folder, np.zeros((6, 3))), "5 names, and .* has more vectors"),
        (lambda folder: _array(folder, np.zeros((4, 3))), "more names than the 4 vectors"),
        (lambda folder: _array(folder, np.array([[0.0], [1], [2], [np.inf], [1]])), "vector 3, counted from 0, is not"),
        (lambda folder: _array(folder, np.full((5, 1), 1e300)), "vector 0, counted from 0, is not finite in float32"),
        (lambda folder: (folder / "names.txt").write_text("a\nb\na\nc\nd\n"), "the name 'a' is there twice"),
        (lambda folder: (folder / "names.txt").write_bytes(b"a\nb\n\xff\nc\nd\n"), "line 3: the name .* is not UTF-8"),
    ],
)
def test_broken_arrays_give_one_line(tmp_path: Path, harm: Callable[[Path], object], message: str) -> None:
    options = as_array(tmp_path)
    harm(tmp_path)
    _refused(tmp_path, options, message)


def _entities(place: Path, content: bytes) -> None:
    (place / foreign.ENTITIES).write_bytes(gzip.compress(content))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda place: (place / "model.safetensors").unlink(), r"trained_model\.pkl may run code .*save_file"),
        (lambda place: (place / foreign.ENTITIES).unlink(), "has no training_triples/entity_to_id"),
        (lambda place: (place / "model.safetensors").write_bytes(b"\xff" * 50), "is no whole safetensors file"),
        (lambda place: save_file({"x": VECTORS}, place / "model.safetensors"), "has no table entity_representations"),
        (lambda place: save_file({ENTITY: VECTORS[0]}, place / "model.safetensors"), "has no table entity_repres"),
        (lambda place: save_file({ENTITY: VECTORS[:4]}, place / "model.safetensors"), "more names than the 4 vectors"),
        (lambda place: _entities(place, b"a\tb\n0\tx\n"), "line 1: is not 'id label'"),
        (lambda place: _entities(place, b"id\tlabel\n1\tx\n"), "line 2: number 0 is missing"),
        (lambda place: _entities(place, b"id\tlabel\n0\tx\n"), "1 names, and .* has more vectors"),
    ],
)
def test_broken_results_of_pykeen_give_one_line(tmp_path: Path, harm: Callable[[Path], object], message: str) -> None:
    options = as_pykeen(tmp_path)
    harm(tmp_path / "result")
    _refused(tmp_path, options, message)


def test_what_could_run_code_or_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path, ["--vectors", "model.pkl"], "may run code")
    array, text = as_array(tmp_path), as_text(tmp_path)
    _refused(tmp_path, array[:2], "give its names: --names FILE")
    _refused(tmp_path, [*text, *array[2:]], "has names; no --names")
    _refused(tmp_path, ["--vectors", str(tmp_path / "none.txt")], "No such file")


@pytest.mark.parametrize("name", ["model.safetensors", foreign.ENTITIES, foreign.RELATIONS, "trained_model.pkl"])
def test_no_file_of_a_result_of_pykeen_is_replaced(tmp_path: Path, name: str) -> None:
    options = as_pykeen(tmp_path)
    before = (tmp_path / "result" / name).read_bytes()
    with pytest.raises(UserError, match="is one of the inputs"):
        main(["import", *options, "--output", str(tmp_path / "result" / name), "--overwrite"])
    assert (tmp_path / "result" / name).read_bytes() == before


def test_a_graph_of_other_nodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the graph is empty.*of 1 triples a node of it has no vector"):
        imported(tmp_path, *as_text(tmp_path), triples=[("x", "y")])
