"""Files that are of another format than the one that was asked for: one line says of which, and what to do."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from text_files import JSON, STARTS, TSV, Read, Text, each, refusal, written, zstd

from stonkgs.source.csv import CsvSource
from stonkgs.source.jsonl import JsonlSource
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Statement


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        file.add(__file__)
    return out.getvalue()


def workbook() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    return out.getvalue()


def table() -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"source": ["s"]}), out)
    return bytes(out.getvalue().to_pybytes())


NULS = (
    "is full of NUL bytes, which looks like UTF-16 or no text at all; "
    "convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8"
)
UTF16 = "is UTF-16: convert it, for example with iconv -f UTF-16 -t UTF-8"
FOREIGN = {
    "xlsx": (workbook(), "is a zip archive or an Excel workbook (.xlsx): unpack it, or save its sheet as CSV"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "is an old Excel or Word file: save its table as CSV"),
    "pdf": (b"%PDF-1.7\n1 0 obj\n", "is a PDF: export its table as CSV or TSV"),
    "parquet": (table(), "is Parquet: source=parquet"),
    "arrow": (b"ARROW1\0\0" + b"x" * 99, "is an Arrow file: write it as Parquet, and use source=parquet"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"x" * 99, "is HDF5: export its table as TSV or Parquet"),
    "bzip2": (bz2.compress(TSV), "is packed with bzip2: unpack it with bunzip2"),
    "xz": (lzma.compress(TSV), "is packed with xz: unpack it with unxz"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + b"x" * 99, "is a 7z archive: unpack it"),
    "tar": (archive(), "is a tar archive: unpack it with tar -xf"),
    "gzip twice": (gzip.compress(TSV), "is packed twice: unpack it once"),
    "utf-16": (TSV.decode().encode("utf-16"), UTF16),
    "utf-16 of a big-endian machine": (b"\xfe\xff" + TSV.decode().encode("utf-16-be"), UTF16),
    "utf-16 without a mark": (TSV.decode().encode("utf-16-le"), NULS),
    "utf-32": (TSV.decode().encode("utf-32"), "is UTF-32: convert it, for example with iconv -f UTF-32 -t UTF-8"),
    "nuls": (bytes(5000), NULS),
}


@each
@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_text_is_told_what_it_is(tmp_path: Path, kind: Text, what: str) -> None:
    data, words = FOREIGN[what]
    for name, content in (("plain", data), ("gzip", gzip.compress(data)), ("zstd", zstd(data))):
        if (what, name) != ("gzip twice", "plain"):
            path = written(tmp_path, content, name)
            assert refusal(kind(path=path)) == f"{path}: {words}"


@pytest.mark.parametrize("word", ["PAR1", "BZh9", "%PDF", "7z", "PK"])
def test_a_header_may_begin_as_another_format_does(tmp_path: Path, read: Read, word: str) -> None:
    path = written(tmp_path, word.encode() + b"\t" + TSV + b"1\ts\tt\te\n")
    assert read(TsvSource(path=path), 9) == [Statement("s", "t", "e", {word: "1"})]


@each
def test_a_nul_here_and_there_is_text(tmp_path: Path, read: Read, kind: Text) -> None:
    start, row = STARTS[kind]
    nul = rb"\u0000" if kind is JsonlSource else b"\0"
    path = written(tmp_path, start + row * 9 + row.replace(b"E", nul))
    *_, last = read(kind(path=path), 9)
    assert last == Statement("S", "T", "\0", {"extra": None} if kind is JsonlSource else {})


@pytest.mark.parametrize(
    "data",
    [
        b"[" + JSON.strip() + b"]",
        b"\xef\xbb\xbf\n  [\n" + JSON + b"]\n",
        b"[\n" + b'{"no": "evidence"}\n' * 9 + b"]\n",
        b"[" + b" " * 2_000_000 + JSON,
        gzip.compress(b"[\n" + JSON),
    ],
    ids=["one line", "lines", "other columns", "over max_record", "packed"],
)
def test_a_json_array_is_no_jsonl(tmp_path: Path, data: bytes) -> None:
    first = written(tmp_path, JSON, "first")
    path = written(tmp_path, data, "array.json")
    message = f"{path}: is a JSON array, not JSON Lines; write an object a line, for example with jq -c '.[]'"
    assert refusal(JsonlSource(path=path)) == refusal(JsonlSource(path=[first, path])) == message


@pytest.mark.parametrize("kind", [TsvSource, CsvSource])
def test_json_lines_are_no_table(tmp_path: Path, kind: type[TsvSource] | type[CsvSource]) -> None:
    assert refusal(kind(path=written(tmp_path, JSON))).endswith("It looks like JSON Lines: source=jsonl")
