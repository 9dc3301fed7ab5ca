"""Files that are no sound store: each is a good one with one thing changed, and each gets its own message."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from stonkgs.errors import UserError
from stonkgs.kge.layout import DTYPES, Inspection
from stonkgs.kge.store import KgeStore


def change(good: Path, path: Path, name: str, make: Callable[[Any, NDArray[Any]], None]) -> KgeStore:
    """Copy the store, and have `make` put something else in the place of one dataset."""
    shutil.copy(good, path)
    with h5py.File(path, "r+") as file:
        data = file[name][:]
        del file[name]
        make(file, data)
    return KgeStore(path=str(path))


def external(file: Any, data: NDArray[Any]) -> None:
    file.create_dataset("vectors", data.shape, "<f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def external_link(file: Any, _: NDArray[Any]) -> None:
    file["vectors"] = h5py.ExternalLink("other.h5", "/vectors")


def soft_link(file: Any, data: NDArray[Any]) -> None:
    file["elsewhere"] = data
    file["vectors"] = h5py.SoftLink("/elsewhere")


def virtual(file: Any, data: NDArray[Any]) -> None:
    layout = h5py.VirtualLayout(data.shape, "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "vectors", data.shape)
    file.create_virtual_dataset("vectors", layout)


def compact(file: Any, data: NDArray[Any]) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(data.shape)
    h5py.h5d.create(file.id, b"vectors", h5py.h5t.IEEE_F32LE, space, dcpl=properties)


def nothing(*_: object) -> None:
    """The dataset stays removed."""


def other(dtype: str) -> Callable[[Any, NDArray[Any]], object]:
    return lambda file, data: file.create_dataset("vectors", data=data.astype(dtype))


REPACK = "h5repack -l CONTI -f NONE"
HOSTILE: dict[str, tuple[Callable[[Any, NDArray[Any]], object], str]] = {
    "external storage": (external, f"external files; .*{REPACK}"),
    "external link": (external_link, "'vectors' is a link to another place"),
    "soft link": (soft_link, "'vectors' is a link to another place"),
    "virtual": (virtual, f"is virtual.*{REPACK}"),
    "chunked": (lambda file, data: file.create_dataset("vectors", data=data, chunks=(1, 5)), f"is chunked; .*{REPACK}"),
    "gzip": (lambda file, data: file.create_dataset("vectors", data=data, compression="gzip"), "is compressed; .*h5re"),
    "compact": (compact, f"is compact.*{REPACK}"),
    "a group": (lambda file, _: file.create_group("vectors"), "'vectors' is not a dataset"),
    "missing": (nothing, "lacks the dataset 'vectors'"),
    "float64": (other("<f8"), "'vectors' is <f8, not plain <f4 or <f2; rebuild"),
    "whole numbers": (other("<i4"), "'vectors' is <i4, not plain <f4 or <f2"),
    "big-endian": (other(">f4"), "is >f4, not plain <f4"),
    "big-endian half": (other(">f2"), "is >f2, not plain <f4"),
    "complex": (other("<c8"), "is <c8, not plain <f4"),
    "texts": (other("S4"), "not plain <f4"),
    "never written": (lambda file, data: file.create_dataset("vectors", data.shape, "<f4"), "was never written"),
    "huge": (lambda file, _: file.create_dataset("vectors", (2**50, 5), "<f4"), "'walks' is .* asks for"),
    "no nodes": (lambda file, _: file.create_dataset("vectors", (0, 5), "<f4"), "the KGE store is empty"),
    "one dimension": (lambda file, data: file.create_dataset("vectors", data=data[0]), "has 1 dimensions, not 2"),
    "a scalar": (lambda file, data: file.create_dataset("vectors", data=data[0, 0]), "has 0 dimensions, not 2"),
    "null": (lambda file, _: file.create_dataset("vectors", data=h5py.Empty("<f4")), "damaged"),
    "fewer rows": (lambda file, data: file.create_dataset("vectors", data=data[:6]), r"'walks' is \[7, 3\], where"),
    "other width": (lambda file, data: file.create_dataset("vectors", data=data[:, :4]), "'dimension' is 5, its data"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_vectors_are_refused(good: Path, tmp_path: Path, case: str) -> None:
    make, message = HOSTILE[case]
    store = change(good, tmp_path / "bad.h5", "vectors", make)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message) as refused:
        _ = store.vectors
    assert str(tmp_path / "bad.h5") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_walks_that_are_gone(good: Path, tmp_path: Path) -> None:
    """A store may have none, but then it says so."""
    bad = change(good, tmp_path / "bad.h5", "walks", lambda file, _: file.create_dataset("walks", (7, 0), "<i4"))
    with pytest.raises(UserError, match="'walk_length' is 3, its data say 0"):
        _ = bad.vectors


@pytest.mark.parametrize("name", DTYPES)
def test_every_dataset_is_checked(good: Path, tmp_path: Path, name: str) -> None:
    for make, message in (
        (nothing, f"lacks the dataset '{name}'"),
        (lambda file, data: file.create_dataset(name, data=data, chunks=True), f"'{name}' is chunked"),
        (lambda file, data: file.create_dataset(name, data=data.astype("<u2")), f"'{name}' is <u2"),
    ):
        with pytest.raises(UserError, match=message):
            _ = change(good, tmp_path / "bad.h5", name, make).vectors


def test_a_huge_shape_without_its_bytes(good: Path, tmp_path: Path) -> None:
    """All shapes agree, and the file is a thousand times too short for them."""

    def sparse(file: Any, _: NDArray[Any]) -> None:
        nodes = 10**9
        file.attrs["nodes"] = nodes
        for name, shape in {
            "walks": (nodes, 3),
            "name_offsets": (nodes + 1,),
            "hashes": (nodes,),
            "hash_order": (nodes,),
            "identifier_hashes": (nodes,),
            "identifier_order": (nodes,),
        }.items():
            del file[name]
            file.create_dataset(name, shape, DTYPES[name][0])
        file.create_dataset("vectors", (nodes, 5), "<f4")

    with pytest.raises(UserError, match="never written"):
        _ = change(good, tmp_path / "bad.h5", "vectors", sparse).nodes


def test_an_address_past_the_end_of_the_file(good: Path, tmp_path: Path) -> None:
    content = bytearray(good.read_bytes())
    with h5py.File(good) as file:
        offset = file["hash_order"].id.get_offset()
    place = content.index(offset.to_bytes(8, "little") + (28).to_bytes(8, "little"))  # address and size
    content[place : place + 8] = (len(content) - 4).to_bytes(8, "little")
    (tmp_path / "bad.h5").write_bytes(content)
    with pytest.raises(UserError, match="the KGE store is damaged"):
        _ = KgeStore(path=str(tmp_path / "bad.h5")).nodes


def test_the_end_of_the_file_is_not_left_to_hdf5(good: Path) -> None:
    """HDF5 2 sees the address above by itself, and older ones do not."""
    with h5py.File(good) as file:
        end = file["identifier_order"].id.get_offset() + 28  # the last one
        assert Inspection(str(good), file, end).result()
        with pytest.raises(UserError, match="'identifier_order' should have 28 bytes, and the file ends before"):
            Inspection(str(good), file, end - 1).result()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95, 0.999])
def test_a_truncated_file(good: Path, tmp_path: Path, share: float) -> None:
    content = good.read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"cut\.h5: (not an HDF5 file|the KGE store is damaged)"):
        _ = KgeStore(path=str(tmp_path / "cut.h5")).nodes


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("format", None, "not a KGE store"),
        ("format", "stonkgs-kge", "not a KGE store"),  # of variable length
        ("format", np.bytes_("pykeen"), "not a KGE store"),
        ("format", np.zeros((50, 50)), "not a KGE store"),
        ("version", None, "version None"),
        (
            "version",
            3,
            "version 3 of the KGE store, and this stonkgs reads version 2: make it anew with 'stonkgs kge build'",
        ),
        ("digest", None, "'digest' is not a SHA-256"),
        ("digest", np.bytes_("\x1b[2J"), "'digest' is not a SHA-256"),
        ("nodes", 8, "'nodes' is 8, its data say 7"),
        ("walk_length", None, "'walk_length' is None"),
    ],
)
def test_attributes(good: Path, tmp_path: Path, attribute: str, value: object, message: str) -> None:
    shutil.copy(good, tmp_path / "bad.h5")
    with h5py.File(tmp_path / "bad.h5", "r+") as file:
        del file.attrs[attribute]
        if value is not None:
            file.attrs[attribute] = value
    with pytest.raises(UserError, match=message):
        _ = KgeStore(path=str(tmp_path / "bad.h5")).digest


def test_a_store_of_the_first_version(good: Path, tmp_path: Path) -> None:
    """It had no index of identifiers; its version is what is said, not what it lacks."""
    shutil.copy(good, tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        file.attrs["version"] = 1
        del file["identifier_hashes"], file["identifier_order"]
    with pytest.raises(
        UserError, match=r"old\.h5: version 1 of .* reads version 2: make it anew with 'stonkgs kge build'"
    ):
        _ = KgeStore(path=str(tmp_path / "old.h5")).nodes


def test_what_is_no_file_or_no_hdf5(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("name\t1\n" * 100)
    (tmp_path / "empty.h5").touch()
    (tmp_path / "gone.h5").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name, message in {
        "text.h5": "not an HDF5 file; a KGE store is made by 'stonkgs kge build'",
        "empty.h5": "not an HDF5 file",
        "pipe": "is no regular file; copy it to one",
        ".": "is a directory; name the KGE store in it",
        "missing.h5": "no such file; a KGE store is made by 'stonkgs kge build'",
        "gone.h5": "no such file",
    }.items():
        with pytest.raises(UserError, match=message) as refused:
            _ = KgeStore(path=str(tmp_path / name)).nodes
        assert str(refused.value).startswith(str(tmp_path / name).removesuffix("/."))


@pytest.mark.parametrize("before", [0, 1, 2, 4])
@pytest.mark.parametrize("user_block", [0, 512])
def test_a_repacked_store_lies_at_any_byte(good: Path, tmp_path: Path, before: int, user_block: int) -> None:
    """Offsets count from the beginning of the file, whatever stands before the HDF5 part, and need no alignment."""
    with h5py.File(good) as old, h5py.File(tmp_path / "moved.h5", "w", userblock_size=user_block) as new:
        new["shift"] = np.zeros(before, np.uint8)
        for name in old:
            new[name] = old[name][:]
        new.attrs.update(old.attrs)
    store = KgeStore(path=str(tmp_path / "moved.h5"))
    original = KgeStore(path=str(good))
    assert [store.identified(f"p(HGNC:{number})") for number in range(7)] == list(range(7))
    assert [store.number(original.name(number)) for number in range(7)] == list(range(7))
    assert [store.name(number) for number in range(7)] == [original.name(number) for number in range(7)]
    np.testing.assert_array_equal(store.gather(np.arange(7)), original.vectors)
    np.testing.assert_array_equal(store.walks, original.walks)
