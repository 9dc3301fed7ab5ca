"""What every file format promises, tried on every format that there is, and on one of the contract's three methods."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.ipc
import pytest
from conftest import ROOT
from omegaconf import OmegaConf

from stonkgs.errors import UserError
from stonkgs.tables.columns import json_field
from stonkgs.tables.damage import reading
from stonkgs.tables.format import Format, Write
from stonkgs.tables.formats import formats
from stonkgs.tables.text import TextFormat

TEXTS = ["plain", 'a "quoted" one', "tab\tin", "line\nbreak", "\n\n", '"', '""\n"', "lone \r return", "\r\n", "β" * 9]
SCHEMA = pa.schema(
    [
        *[("text", pa.string()), ("number", pa.int64()), ("double", pa.float64()), ("single", pa.float32())],
        *[("flag", pa.bool_()), ('odd "name"\n\t', pa.string())],
    ]
)


class Feather(Format):
    """Arrow's own file format, by the three methods that a format has to have."""

    extension = "feather"

    @contextmanager
    def writing(self, schema: pa.Schema, file: BinaryIO) -> Iterator[Write]:
        with pa.ipc.new_file(file, schema) as writer:
            yield writer.write_table

    def schema(self, files: Sequence[Path]) -> pa.Schema:
        with pa.ipc.open_file(files[0]) as reader:
            return reader.schema

    def batches(self, file: Path, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        with pa.ipc.open_file(file) as reader:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number).select(wanted.names)
                batch.validate(full=True)  # else the damage is met by whoever looks at a value
                yield batch


@pytest.fixture(params=[*formats().values(), Feather()], ids=lambda format_: format_.extension)
def form(request: pytest.FixtureRequest) -> Format:
    made: Format = request.param
    return made


def table(count: int, first: int = 0) -> pa.Table:
    rows = [
        {
            "text": TEXTS[n % 10],
            "number": None if n % 4 == 1 else (-1) ** n * (2**62 + n),
            "double": None if n % 5 == 2 else n / 7 * 10.0 ** (n % 40 - 20),
            "single": n / 3,
            "flag": None if n % 3 == 2 else n % 2 == 0,
            'odd "name"\n\t': TEXTS[n * 3 % 10],
        }
        for n in range(first, first + count)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def written(form: Format, path: Path, rows: pa.Table) -> Path:
    with open(path, "wb") as file:
        form.write(rows, file)
    return path


def read(form: Format, path: Path, wanted: pa.Schema = SCHEMA) -> list[dict[str, Any]]:
    return [row for batch in form.batches(path, wanted) for row in batch.cast(wanted).to_pylist()]


def joined(form: Format, path: Path, parts: list[Path]) -> Path:
    with open(path, "wb") as file:
        form.join(iter(parts), SCHEMA, file)
    return path


def test_every_format_has_a_writer_and_a_config() -> None:
    configs = {path.stem: str(OmegaConf.load(path)) for path in (ROOT / "configs" / "writer").glob("*.yaml")}
    assert configs.keys() == {*formats(), "npy"}, "NPY is made of Parquet"
    for name, config in configs.items():
        assert f"stonkgs.writer.{name}.{name.capitalize()}Writer" in config


@pytest.mark.parametrize("count", [0, 1, 60])
def test_what_is_written_is_read(form: Format, tmp_path: Path, count: int) -> None:
    form.check(SCHEMA)
    path = written(form, tmp_path / "file", table(count))
    form.verify(path, count)
    assert read(form, path) == table(count).to_pylist()
    names = form.schema([path]).names
    assert names == SCHEMA.names or (not count and not names)  # JSON Lines without lines


def test_columns_are_read_as_they_are_asked_for(form: Format, tmp_path: Path) -> None:
    path = written(form, tmp_path / "file", table(9))
    wanted = pa.schema([SCHEMA.field(name) for name in ("single", 'odd "name"\n\t', "text")])
    assert read(form, path, wanted) == table(9).select(wanted.names).to_pylist()
    assert next(form.batches(path, wanted)).schema.names == wanted.names


def test_a_file_of_many_tables(form: Format, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file, form.writing(SCHEMA, file) as write:
        for first in (0, 7, 7, 20):
            write(table(7, first))
    assert read(form, tmp_path / "file") == [row for first in (0, 7, 7, 20) for row in table(7, first).to_pylist()]


@pytest.mark.parametrize("sizes", [(), (0,), (0, 3, 0, 20, 1)])
def test_parts_are_joined_in_order(form: Format, tmp_path: Path, sizes: tuple[int, ...]) -> None:
    firsts = [sum(sizes[:number]) for number in range(len(sizes))]
    tables = [table(size, first) for size, first in zip(sizes, firsts, strict=True)]
    parts = [written(form, tmp_path / str(number), rows) for number, rows in enumerate(tables)]
    path = joined(form, tmp_path / "joined", parts)
    form.verify(path, sum(sizes))
    assert read(form, path) == table(sum(sizes)).to_pylist()
    if isinstance(form, TextFormat):
        assert path.read_bytes() == written(form, tmp_path / "whole", table(sum(sizes))).read_bytes()


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_where_blocks_are_cut_does_not_show(
    form: Format, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stonkgs.tables.text.BLOCK", size)
    monkeypatch.setattr("stonkgs.tables.parquet.ROWS", size)
    assert read(form, written(form, tmp_path / "file", table(50))) == table(50).to_pylist()


def test_a_damaged_file_is_told_in_one_line(form: Format, tmp_path: Path) -> None:
    """Or it is read, where a text format cannot tell; nothing else comes of it."""
    content = written(form, tmp_path / "file", table(200)).read_bytes()
    generator, told = random.Random(0), []
    for number in range(40):
        place = generator.randrange(len(content))
        damaged = content[:place] if number % 2 else content[:place] + generator.randbytes(20) + content[place + 20 :]
        (tmp_path / "file").write_bytes(damaged)
        told.append(complaint(form, tmp_path / "file"))
    lines = [line for line in told if line is not None]
    assert len(lines) > 5
    assert all(line.startswith(f"{tmp_path / 'file'}: ") and "\n" not in line for line in lines)


def complaint(form: Format, path: Path) -> str | None:
    try:
        with reading(path, "here"):
            read(form, path)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", ["parquet", "tsv"])
def test_a_column_that_a_part_lacks(tmp_path: Path, name: str) -> None:
    form = formats()[name]
    path = written(form, tmp_path / "file", table(3).drop_columns("number"))
    with pytest.raises(UserError, match="file: has no column 'number', which the first part has; fetch it again"):
        read(form, path)


def test_bytes(tmp_path: Path) -> None:
    """TSV as pandas writes it, with quotes where they are needed; all digits; a column of JSON is JSON, not text."""
    rows = pa.table({"a\tb": ["x", None, 'say "y"\n'], "p": pa.array([0.1, 1.0, None], pa.float32())})
    rows = rows.append_column(json_field("j"), pa.array(['{"n": [1, "β"]}', None, "2"]))
    assert written(formats()["tsv"], tmp_path / "tsv", rows).read_text("utf-8") == (
        '"a\tb"\tp\tj\nx\t0.10000000149011612\t"{""n"": [1, ""β""]}"\n\t1.0\t\n"say ""y""\n"\t\t2\n'
    )
    assert written(formats()["jsonl"], tmp_path / "jsonl", rows).read_text("utf-8") == (
        '{"a\\tb": "x", "p": 0.10000000149011612, "j": {"n": [1, "β"]}}\n'
        '{"a\\tb": null, "p": 1.0, "j": null}\n'
        '{"a\\tb": "say \\"y\\"\\n", "p": null, "j": 2}\n'
    )


def test_a_parquet_file_that_is_cut_short_is_noticed(tmp_path: Path) -> None:
    form = formats()["parquet"]
    path = written(form, tmp_path / "file", table(9))
    with pytest.raises(OSError, match="9 of 10 rows arrived"):
        form.verify(path, 10)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match="cannot be read back"):
        form.verify(path, 9)
