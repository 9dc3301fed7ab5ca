"""What every writer promises, tried on every writer that there is."""

import csv
import errno
import importlib
import json
import os
import pkgutil
import shutil
import signal
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import deaths
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import file_size_limit

import stonkgs.writer
from stonkgs.batch import Batch, SplitEnd
from stonkgs.errors import UserError
from stonkgs.model.answer import Probabilities
from stonkgs.runs.finished import FinishedRun
from stonkgs.runs.identity import STORE, Identity
from stonkgs.runs.job import Job
from stonkgs.runs.plan import plan_from_json, plan_to_json
from stonkgs.runs.plan_file import UnfinishedRun
from stonkgs.runs.record import RunRecord
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection, Tally
from stonkgs.tables.columns import json_field
from stonkgs.tables.format import Format
from stonkgs.writer.base import FLAGS, PredictionWriter

TEXTS = ["plain", "", 'a "quoted" one', "tab\tinside", "line\nbreak", "lone \r return", " spaces ", "β-catenin", "'"]
SCHEMA = pa.schema(
    [
        pa.field("evidence", pa.string()),
        pa.field("number", pa.int64()),
        pa.field("belief", pa.float64()),
        pa.field("seen", pa.timestamp("ns")),
        pa.field("dose", pa.decimal128(10, 3)),
        pa.field("tags", pa.list_(pa.string())),
        json_field("annotations"),
    ]
)


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "evidence": TEXTS[n % len(TEXTS)],
            "number": None if n % 4 == 0 else 2**53 + n,
            "belief": None if n % 5 == 0 else n / 7,
            "seen": datetime(2026, 11, 22, 1, 2, n % 60),
            "dose": Decimal(n) / 8,
            "tags": [] if n % 3 else ["a", 'b"'],
            "annotations": None if n % 2 else json.dumps({"n": [n, "ü\t"]}, ensure_ascii=False),
        }
        for n in range(count)
    ]


def read_tsv(path: Path) -> list[dict[str, Any]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "tsv": read_tsv,
    "jsonl": read_jsonl,
    "parquet": lambda path: pq.read_table(path).to_pylist(),
}


def read_by_itself(form: Format, path: Path) -> list[dict[str, Any]]:
    """A format that none of READERS reads; tests/tables holds it to what it promises."""
    return [row for batch in form.batches(path, form.schema([path])) for row in batch.to_pylist()]


def writers() -> list[type[PredictionWriter]]:
    """Every concrete writer of the package."""
    for module in pkgutil.iter_modules(stonkgs.writer.__path__):
        importlib.import_module(f"stonkgs.writer.{module.name}")
    found = [kind for kind in PredictionWriter.__subclasses__() if kind.__module__.startswith("stonkgs.")]
    assert found, "no writer found"
    for kind in found:
        READERS.setdefault(kind.extension, partial(read_by_itself, kind().format))
    return found


@pytest.fixture(params=writers(), ids=lambda kind: kind.extension)
def writer(request: pytest.FixtureRequest) -> PredictionWriter:
    made: PredictionWriter = request.param()
    return made


def plan_of(splits: int) -> Plan:
    zeros = np.zeros(splits, np.int64)
    return Plan(("in.tsv",), SCHEMA, zeros, zeros, zeros)


def record_of(**values: Any) -> RunRecord:
    """The record of one and the same command, but for these values of its identity."""
    identity = Identity({"threads": None, STORE: "b", **values})
    told: dict[str, Any] = {"versions": {}, "host": "here", "python": "3", "started": "today", "nodes": 3}
    return RunRecord(identity=identity, config={"writer": {}}, labels=("no", "yes"), **told)


def task(folder: Path, splits: int, **options: Any) -> Job:
    record: dict[str, Any] = {"record": record_of(), "defaults": {"threads": 2}}
    return Job(folder, plan_of(splits), Probabilities(("no", "yes")), first_line=lambda _: 2, **(record | options))


def batch(
    split: int,
    positions: list[int],
    given: list[dict[str, Any]],
    end: SplitEnd | None,
    rejected: Sequence[Rejection] = (),
) -> Batch:
    found = np.array([[not row["tags"], 2 * bool(row["tags"])] for row in given], np.int8).reshape(-1, 2)
    truncated = np.array([bool(row["tags"]) for row in given], np.bool_)
    return Batch(
        split=split,
        positions=np.array(positions, np.int64),
        inputs={"nodes": {"found": found}, "text": {"truncated": truncated}},
        columns=pa.RecordBatch.from_pylist(given, schema=SCHEMA),
        rejected=list(rejected),
        end=end,
    )


def batches(given: list[dict[str, Any]], size: int) -> Iterator[Batch]:
    """Splits of `size` rows in three shuffled batches each, the splits' batches interleaved, the last split first."""
    random = np.random.default_rng(0)
    pending = []
    for split, start in enumerate(range(0, len(given), size)):
        block = given[start : start + size]
        order = random.permutation(len(block)).tolist()
        parts = [order[k::3] for k in range(3)]
        rejection = Rejection("in.tsv", "two fields", b"x\xff\ty", offset=start, line=size)
        for k, part in enumerate(parts):
            end = SplitEnd(Tally(size + 1)) if k == 2 else None
            pending.append(batch(split, part, [block[j] for j in part], end, [rejection] if end else []))
    for k in range(3):
        yield from pending[k::3][::-1]


def probabilities(given: Batch) -> Any:
    """What a row's probabilities are is told by its own number: 1/3 has no end in any base that is written."""
    values = np.array([(n or 0) % 97 / 97 for n in given.columns["number"].to_pylist()], np.float32)
    return np.stack([1 - values, values], axis=1)


def run(writer: PredictionWriter, folder: Path, given: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    writer.start(task(folder, -(-len(given) // size)))
    for part in batches(given, size):
        writer.add(part, probabilities(part))
    account = writer.finish()
    assert account.predicted == len(given)
    return READERS[writer.extension](folder / f"predictions.{writer.extension}")


def test_written_is_read_in_the_inputs_order(writer: PredictionWriter, tmp_path: Path) -> None:
    given = rows(50)
    read = run(writer, tmp_path, given, 11)
    assert len(read) == 50
    for row, written in zip(given, read, strict=True):
        assert list(written) == [*SCHEMA.names, "no", "yes", "prediction", *FLAGS]
        for name in SCHEMA.names:
            assert same(writer.extension, name, row[name], written[name])
        yes = np.float32((row["number"] or 0) % 97 / 97)
        assert float(written["yes"]) == yes, "a float reads back exactly"
        assert np.float32(written["no"]) == 1 - yes
        assert written["prediction"] == ("yes" if yes > 0.5 else "no")


def same(extension: str, name: str, given: Any, written: Any) -> bool:
    """What each format can hold of a value."""
    if extension not in {"tsv", "jsonl"}:
        return bool(written == given)
    if given is None:
        return bool(written == ("" if extension == "tsv" else None))
    if name in {"seen", "dose"}:
        return bool(Decimal(written) == given) if name == "dose" else bool(written.startswith(str(given)))
    if extension == "tsv":
        return bool(written == given if isinstance(given, str) else json.loads(written) == given)
    return bool(written == (json.loads(given) if name == "annotations" else given))


def test_the_size_of_splits_does_not_show(writer: PredictionWriter, tmp_path: Path) -> None:
    given = rows(23)
    read = [run(type(writer)(), tmp_path / str(size), given, size) for size in (1, 5, 23)]
    assert read[0] == read[1] == read[2]


def test_complete_or_not_at_all(writer: PredictionWriter, tmp_path: Path) -> None:
    writer.start(task(tmp_path, 2))
    first, *_ = batches(rows(3), 3)
    first.end = SplitEnd(Tally(3))
    writer.add(first, probabilities(first))
    assert {path.name[:6] for path in tmp_path.iterdir()} == {"plan.j", "parts-"}
    with pytest.raises(RuntimeError, match="split 1 of 2 was not predicted"):
        writer.finish()
    assert not list(tmp_path.glob("predictions.*"))
    assert not (tmp_path / "_SUCCESS").exists()


def test_what_a_finished_run_leaves(writer: PredictionWriter, tmp_path: Path) -> None:
    run(writer, tmp_path, rows(5), 2)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"predictions.{writer.extension}", "rejected.jsonl", "run.json", "_SUCCESS"}
    assert json.loads((tmp_path / "run.json").read_text())["result"] == {
        **{"read": 8, "predicted": 5, "rejected": 3},
        **{"nodes_exact": 3, "nodes_identifier": 2, "nodes_unknown": 5, "texts_truncated": 2},
        **{"classes": {"no": 5, "yes": 0}, "without_row": {}, "records": None},
    }


def test_rejected_rows_have_the_files_own_lines(writer: PredictionWriter, tmp_path: Path) -> None:
    run(writer, tmp_path, rows(9), 3)
    rejected = read_jsonl(tmp_path / "rejected.jsonl")
    # Each split has four lines, the last of them rejected; the first record is on line 2.
    assert [row["line"] for row in rejected] == [5, 9, 13]
    assert rejected[0]["raw"] == "x\\xff\ty"
    assert (rejected[1]["file"], rejected[1]["offset"], rejected[1]["reason"]) == ("in.tsv", 3, "two fields")


def test_no_rows_are_a_valid_result(writer: PredictionWriter, tmp_path: Path) -> None:
    writer.start(task(tmp_path, 1))
    writer.add(batch(0, [], [], SplitEnd(Tally(0))), np.zeros((0, 2), np.float32))
    writer.finish()
    assert READERS[writer.extension](tmp_path / f"predictions.{writer.extension}") == []
    assert (tmp_path / "_SUCCESS").exists()
    if writer.extension == "parquet":
        assert pq.read_schema(tmp_path / "predictions.parquet").names[-1] == "text_truncated"


def test_all_rejected_gives_no_predictions(writer: PredictionWriter, tmp_path: Path) -> None:
    writer.start(task(tmp_path, 1))
    rejection = Rejection("in.tsv", "two fields", b"x", offset=0, line=0)
    writer.add(batch(0, [], [], SplitEnd(Tally(1)), [rejection]), np.zeros((0, 2), np.float32))
    writer.finish()
    assert {path.name for path in tmp_path.iterdir()} == {"rejected.jsonl", "run.json"}


def test_success_comes_last(writer: PredictionWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sees it may read all else: no file gets its name after it."""
    replace, named = os.replace, []

    def watched(source: Path, target: Path) -> None:
        assert not (tmp_path / "_SUCCESS").exists()
        replace(source, target)
        named.append(target.name)

    monkeypatch.setattr(os, "replace", watched)
    run(writer, tmp_path, rows(5), 2)
    assert (tmp_path / "_SUCCESS").exists()
    assert {f"predictions.{writer.extension}", "rejected.jsonl", "run.json"} <= set(named)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_not_overwritten_by_accident(writer: PredictionWriter, tmp_path: Path) -> None:
    run(writer, tmp_path, rows(5), 2)
    before = contents(tmp_path)
    finished = type(writer)().start(task(tmp_path, 1))
    assert isinstance(finished, FinishedRun)
    assert finished.account.read == 8
    other = record_of(**{STORE: "c"})
    with pytest.raises(UserError, match=r"holds a finished run of other settings: the KGE store's digest was b, is c"):
        type(writer)().start(task(tmp_path, 1, record=other))
    assert contents(tmp_path) == before


def test_a_result_stays_until_the_one_that_replaces_it_is_there(writer: PredictionWriter, tmp_path: Path) -> None:
    run(writer, tmp_path, rows(5), 2)
    before = contents(tmp_path)
    again = type(writer)()
    again.start(task(tmp_path, 1), overwrite=True)
    assert before.items() <= contents(tmp_path).items()
    again.add(batch(0, [0], rows(1), SplitEnd(Tally(1))), np.ones((1, 2), np.float32))
    again.finish()
    assert len(READERS[writer.extension](tmp_path / f"predictions.{writer.extension}")) == 1
    assert contents(tmp_path).keys() == before.keys()


def test_another_format_replaces_it_too(writer: PredictionWriter, tmp_path: Path) -> None:
    run(writer, tmp_path, rows(5), 2)
    other = next(kind for kind in writers() if kind is not type(writer))()
    other.start(task(tmp_path, 1), overwrite=True)
    other.add(batch(0, [0], rows(1), SplitEnd(Tally(1))), np.ones((1, 2), np.float32))
    other.finish()
    assert [path.name for path in tmp_path.glob("predictions.*")] == [f"predictions.{other.extension}"]


@pytest.mark.parametrize("name", ["predictions.{}", "rejected.jsonl", "run.json", "plan.json", "parts/notes.txt"])
def test_what_no_run_wrote_is_never_touched(writer: PredictionWriter, tmp_path: Path, name: str) -> None:
    path = tmp_path / name.format(writer.extension)
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    with pytest.raises(UserError, match="which no run wrote; choose another"):
        writer.start(task(tmp_path, 1), overwrite=True)
    assert contents(tmp_path) == {str(path.relative_to(tmp_path)): b"{}"}


def test_other_files_in_the_folder_stay(writer: PredictionWriter, tmp_path: Path) -> None:
    (tmp_path / "predictions.xlsx").write_text("mine")
    run(writer, tmp_path, rows(5), 2)
    (tmp_path / "notes.txt").write_text("mine too")
    again = type(writer)()
    again.start(task(tmp_path, 1), overwrite=True)
    (again.parts.path / "notes.txt").write_text("here?")
    again.add(batch(0, [], [], SplitEnd(Tally(0))), np.zeros((0, 2), np.float32))
    again.finish()
    assert {"predictions.xlsx", "notes.txt", f"{again.parts.path.name}/notes.txt"} <= contents(tmp_path).keys()
    assert (tmp_path / "_SUCCESS").exists()


@pytest.mark.parametrize("name", ["parts", "parts-01234567"])
def test_a_link_to_another_folder_is_not_followed(writer: PredictionWriter, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "00000001.tsv").write_text("mine")
    run(writer, tmp_path / "out", rows(5), 2)
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")
    again = type(writer)()
    again.start(task(tmp_path / "out", 1, merge=False), overwrite=True)
    again.add(batch(0, [0], rows(1), SplitEnd(Tally(1))), np.ones((1, 2), np.float32))
    if name == "parts":
        with pytest.raises(UserError, match="may hold files that no run wrote: move them away, and give the same"):
            again.finish()
        (tmp_path / "out" / name).unlink()
    assert again.finish().predicted == 1
    assert (tmp_path / "elsewhere" / "00000001.tsv").exists()


@pytest.mark.parametrize("name", ["predictions.{}", "rejected.jsonl"])
def test_a_run_does_not_replace_its_own_input(writer: PredictionWriter, tmp_path: Path, name: str) -> None:
    run(writer, tmp_path, rows(5), 2)
    before = contents(tmp_path)
    second = task(tmp_path, 1)
    second.plan = replace(second.plan, files=(str(tmp_path / name.format(writer.extension)),))
    with pytest.raises(UserError, match="would replace its own input"):
        type(writer)().start(second, overwrite=True)
    assert contents(tmp_path) == before


def test_what_a_dead_run_has_committed_counts(writer: PredictionWriter, tmp_path: Path) -> None:
    """And nothing else: neither what it held, nor what it was on the way to write."""
    given = rows(8)
    writer.start(task(tmp_path, 4))
    done, begun, *_ = [part for part in batches(given, 2) if part.split in (1, 2)]
    for part in (part for part in batches(given, 2) if part.split == 1):
        writer.add(part, probabilities(part))
    writer.add(begun if begun.split == 2 else done, np.ones((1, 2), np.float32))
    writer.parts.rows(3).with_name(f"00000003.{writer.extension}.tmp-99-abc").write_text("half a")
    writer.parts.account(0).write_text("{}")
    again = type(writer)()
    state = again.start(task(tmp_path, 4))
    assert isinstance(state, UnfinishedRun)
    assert again.parts.listed(4).tolist() == [split in again.parts for split in range(4)] == [False, True, False, False]
    for part in (part for part in batches(given, 2) if part.split != 1):
        again.add(part, probabilities(part))
    assert again.finish().predicted == 8
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"predictions.{writer.extension}", "rejected.jsonl", "run.json", "_SUCCESS")
    }


def go_on(writer: PredictionWriter, folder: Path, *, merge: bool) -> None:
    """Begin a run of four splits, or do what is left of it."""
    state = writer.start(task(folder, 4, merge=merge))
    if isinstance(state, FinishedRun):
        writer.folder.tidy()
        return
    for part in batches(rows(20), 5):
        if part.split not in writer.parts:
            writer.add(part, probabilities(part))
    writer.finish()


def results(folder: Path) -> dict[str, Any]:
    """What is in a finished folder; of run.json what does not tell when it was."""
    found: dict[str, Any] = contents(folder)
    return found | {"run.json": json.loads(found["run.json"])["result"]}


def operations(writer: PredictionWriter, folder: Path, *, merge: bool) -> list[str]:
    """Run it, noting the places of its file operations."""
    seen = folder.with_name("operations")
    assert deaths.in_fork(partial(go_on, writer, folder, merge=merge), before=deaths.recorded(folder, seen)) == 0
    return seen.read_text().splitlines()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("merge", [True, False])
def test_killed_at_any_file_operation(
    writer: PredictionWriter, tmp_path: Path, merge: bool, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each, and with half of each write done: what goes on with it comes to the same."""
    monkeypatch.setattr("stonkgs.runs.presence.INTERVAL", 0.0)  # what is done does not hang on the clock
    seen = operations(writer, tmp_path / "whole", merge=merge)
    wanted, places = results(tmp_path / "whole"), set(seen)
    extension = writer.extension
    assert {f"{verb} parts/N.{extension}.tmp" for verb in ("open", "write", "fsync", "rename")} <= places
    assert {"link parts/_plan.json", "rename parts/_N.jsonl.tmp", "rename parts/run.json", "open _SUCCESS"} <= places
    assert f"rename parts/predictions.{extension}" in places if merge else "rename parts" in places
    for number in deaths.writing(seen, places) if half else deaths.covering(seen, places):
        folder = tmp_path / str(number)
        dying = deaths.die_before(folder, number, half=half)
        assert deaths.in_fork(partial(go_on, type(writer)(), folder, merge=merge), before=dying) == -signal.SIGKILL
        go_on(type(writer)(), folder, merge=merge)
        assert results(folder) == wanted, seen[number]


def long_split(windows: int, rejected: int = 3) -> Iterator[Batch]:
    """One split in windows of five rows, each in two batches, with rejected rows before each window."""
    given, random = rows(5 * windows), np.random.default_rng(0)
    rejection = Rejection("in.tsv", "two fields", b"x\xff\ty" * 100, offset=0, line=0)
    for window in range(windows):
        order = (5 * window + random.permutation(5)).tolist()
        for part in (order[:3], order[3:]):
            end = SplitEnd(Tally(5 * windows)) if (window, part) == (windows - 1, order[3:]) else None
            yield batch(0, part, [given[n] for n in part], end, [rejection] * (rejected if part == order[:3] else 0))


def write_long(writer: PredictionWriter, folder: Path) -> None:
    if isinstance(writer.start(task(folder, 1)), UnfinishedRun):
        for part in long_split(6) if 0 not in writer.parts else ():
            writer.add(part, probabilities(part))
        writer.finish()


def test_a_long_split_is_written_in_pieces(
    writer: PredictionWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So neither its rows nor its rejected rows have to fit into memory; what comes out is the same."""
    write_long(writer, tmp_path / "whole")
    monkeypatch.setattr("stonkgs.writer.part.PIECE_ROWS", 7)
    monkeypatch.setattr("stonkgs.writer.part.REJECTED_BYTES", 1000)
    pieces = type(writer)()
    pieces.start(task(tmp_path / "pieces", 1))
    begun = 0
    for part in long_split(6):
        pieces.add(part, probabilities(part))
        if part.end is None:
            assert sum(len(held.positions) for held in pieces._open[0]._held) <= 10, "two windows"
            begun += bool(list(pieces.parts.path.glob("0*")))
    assert begun == 8, "from the end of the second window on"
    pieces.finish()
    assert results(tmp_path / "pieces")["run.json"] == results(tmp_path / "whole")["run.json"]
    name = f"predictions.{writer.extension}"
    read = [READERS[writer.extension](tmp_path / folder / name) for folder in ("pieces", "whole")]
    assert len(read[0]) == 30
    assert read[0] == read[1]
    lines = [(tmp_path / name / "rejected.jsonl").read_bytes() for name in ("pieces", "whole")]
    assert lines[0] == lines[1]
    assert lines[0].count(b"\n") == 18


def test_killed_where_pieces_are_written(
    writer: PredictionWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stonkgs.writer.part.PIECE_ROWS", 7)
    seen, extension = tmp_path / "operations", writer.extension
    recorded = deaths.recorded(tmp_path / "whole", seen)
    assert deaths.in_fork(partial(write_long, writer, tmp_path / "whole"), before=recorded) == 0
    places = seen.read_text().splitlines()
    wanted, own = results(tmp_path / "whole"), {place for place in places if f"N.{extension}.tmp" in place}
    assert {f"{verb} parts/N.{extension}.tmp" for verb in ("open", "write", "fsync", "rename")} <= own
    for half, numbers in ((False, deaths.covering(places, own)), (True, deaths.writing(places, own))):
        for number in numbers:
            folder = tmp_path / f"{number}-{half}"
            dying = deaths.die_before(folder, number, half=half)
            assert deaths.in_fork(partial(write_long, type(writer)(), folder), before=dying) == -signal.SIGKILL
            write_long(type(writer)(), folder)
            assert results(folder) == wanted, places[number]


def test_a_long_split_that_another_process_has_done(
    writer: PredictionWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of what was written of it, whether the run goes on or is over."""
    monkeypatch.setattr("stonkgs.writer.part.PIECE_ROWS", 7)
    for over in (False, True):
        folder = tmp_path / str(over)
        late, quick = type(writer)(), type(writer)()
        late.start(task(folder, 1 if over else 2))
        quick.start(task(folder, 1 if over else 2))
        for place, part in enumerate(long_split(6)):
            if place == 5:
                for same in long_split(6):
                    quick.add(same, probabilities(same))
                if over:
                    assert quick.finish().predicted == 30
            late.add(part, probabilities(part))
        assert not list(folder.rglob("*.tmp-*"))
        if over:
            assert late.finish().predicted == 30


@pytest.mark.parametrize("fails", ["full", "interrupted"])
def test_a_long_split_that_is_given_up(
    writer: PredictionWriter, tmp_path: Path, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stonkgs.writer.part.PIECE_ROWS", 7)
    writer.start(task(tmp_path, 1))
    first, *rest = long_split(200)
    writer.add(first, probabilities(first))
    for part in rest[:30]:
        writer.add(part, probabilities(part))
    assert list(tmp_path.rglob("*.tmp-*"))
    if fails == "full":
        left = ((part, probabilities(part)) for part in rest[30:])
        with file_size_limit(2000), pytest.raises(UserError, match="cannot be written"):
            any(writer.add(*one) for one in left)  # type: ignore[func-returns-value]
    writer.drop()
    assert not list(tmp_path.rglob("*.tmp-*"))


def test_the_one_who_begins_decides_for_all(writer: PredictionWriter, tmp_path: Path) -> None:
    first = writer.start(task(tmp_path, 2))
    second = type(writer)().start(task(tmp_path, 2, defaults={"threads": 7}))
    assert isinstance(first, UnfinishedRun)
    assert isinstance(second, UnfinishedRun)
    assert first.id == second.id
    assert second.record.identity.values["threads"] == 2
    given = record_of(threads=3)
    with pytest.raises(UserError, match="not finished, and of other settings: threads was 2, is 3"):
        type(writer)().start(task(tmp_path, 2, record=given))


def test_a_split_that_two_have_done_counts_once(writer: PredictionWriter, tmp_path: Path) -> None:
    given = rows(6)
    other = type(writer)()
    writer.start(task(tmp_path, 2))
    other.start(task(tmp_path, 2))
    for part in batches(given, 3):
        writer.add(part, probabilities(part))
        other.add(part, probabilities(part))
    first, second = writer.finish(), other.finish()
    assert first == second
    assert first.predicted == 6
    assert len(READERS[writer.extension](tmp_path / f"predictions.{writer.extension}")) == 6


def test_who_comes_too_late_finds_it_done(writer: PredictionWriter, tmp_path: Path) -> None:
    """A helper may be in the middle of a split when another process finishes the run, and removes its folder."""
    given = rows(6)
    late = type(writer)()
    late.start(task(tmp_path, 2))
    first, *rest = list(batches(given, 3))
    late.add(first, probabilities(first))
    run(writer, tmp_path, given, 3)
    before = contents(tmp_path)
    for part in rest:
        late.add(part, probabilities(part))
    assert late.finish().predicted == 6
    assert contents(tmp_path) == before


def test_a_run_that_was_replaced_says_so(writer: PredictionWriter, tmp_path: Path) -> None:
    given = rows(6)
    old, new = type(writer)(), type(writer)()
    old.start(task(tmp_path, 2))
    first, *rest = list(batches(given, 3))
    old.add(first, probabilities(first))
    new.start(task(tmp_path, 1), overwrite=True)
    for part in rest:
        old.add(part, probabilities(part))
    with pytest.raises(UserError, match=r"another run was started here meanwhile \(overwrite=true\)"):
        old.finish()
    new.add(batch(0, [0], rows(1), SplitEnd(Tally(1))), np.ones((1, 2), np.float32))
    assert new.finish().predicted == 1


@pytest.mark.parametrize("merge", [True, False])
def test_two_may_join_the_parts(
    writer: PredictionWriter, tmp_path: Path, merge: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no locks: the second is in the middle of it when the first has sealed the run, or just before."""
    given = rows(6)
    run(type(writer)(), tmp_path, rows(2), 2)
    first, second = type(writer)(), type(writer)()
    first.start(task(tmp_path, 2, merge=merge), overwrite=True)
    second.start(task(tmp_path, 2, merge=merge))
    for part in batches(given, 3):
        first.add(part, probabilities(part))
    retract = second.folder.retract

    def overtaken(*arguments: Any) -> None:
        assert first.finish().predicted == 6
        retract(*arguments)

    monkeypatch.setattr(second.folder, "locked", nullcontext)
    monkeypatch.setattr(second.folder, "retract", overtaken)
    assert second.finish().predicted == 6
    names = {path.name for path in tmp_path.iterdir()}
    kept = f"predictions.{writer.extension}" if merge else "parts"
    assert names == {kept, "rejected.jsonl", "run.json", "_SUCCESS"}


def test_parts_that_somebody_removed(writer: PredictionWriter, tmp_path: Path) -> None:
    """An earlier result stays, and the next command says what to do."""
    run(type(writer)(), tmp_path, rows(2), 2)
    before = contents(tmp_path)
    writer.start(task(tmp_path, 2), overwrite=True)
    shutil.rmtree(writer.parts.path)
    with pytest.raises(UserError, match=r"cannot be written|is gone"):
        writer.finish()
    with pytest.raises(UserError, match=r"parts-.*: is gone, with what the run had committed; start anew: overwrite"):
        type(writer)().start(task(tmp_path, 2))
    assert before.items() <= contents(tmp_path).items()
    assert isinstance(type(writer)().start(task(tmp_path, 1), overwrite=True), UnfinishedRun)


def test_a_result_that_somebody_removed(writer: PredictionWriter, tmp_path: Path) -> None:
    run(writer, tmp_path, rows(5), 2)
    (tmp_path / f"predictions.{writer.extension}").unlink()
    with pytest.raises(UserError, match=r"its run is finished, but predictions\.\w+ is gone: overwrite=true"):
        type(writer)().start(task(tmp_path, 3))


def test_folders_that_look_like_ours_stay(writer: PredictionWriter, tmp_path: Path) -> None:
    """Parts that somebody has moved away, by the day."""
    (tmp_path / "parts-20261123").mkdir()
    (tmp_path / "parts-20261123" / "00000000.parquet").write_text("mine")
    run(writer, tmp_path, rows(5), 2)
    writer.folder.tidy()
    assert (tmp_path / "parts-20261123" / "00000000.parquet").exists()


def test_all_rejected_is_not_done_again(writer: PredictionWriter, tmp_path: Path) -> None:
    writer.start(task(tmp_path, 1))
    rejection = Rejection("in.tsv", "two fields", b"x", offset=0, line=0)
    writer.add(batch(0, [], [], SplitEnd(Tally(1)), [rejection]), np.zeros((0, 2), np.float32))
    writer.finish()
    assert isinstance(type(writer)().start(task(tmp_path, 1)), FinishedRun)
    mended = record_of(**{STORE: "c"})
    assert isinstance(type(writer)().start(task(tmp_path, 1, record=mended)), UnfinishedRun)


def test_a_file_system_without_links(writer: PredictionWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", link)
    assert len(run(writer, tmp_path, rows(5), 2)) == 5


def test_the_parts_may_stay(writer: PredictionWriter, tmp_path: Path) -> None:
    """merge=false: each part is a file of its format, and the folder holds nothing else that a reader would read."""
    given = rows(20)
    whole = run(type(writer)(), tmp_path / "whole", given, 7)
    writer.start(task(tmp_path / "parts", 3, merge=False))
    for part in batches(given, 7):
        writer.add(part, probabilities(part))
    assert writer.finish().predicted == 20
    folder = tmp_path / "parts" / "parts"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{split:08d}.{writer.extension}" for split in range(3)]
    assert [row for name in names for row in READERS[writer.extension](folder / name)] == whole
    if writer.extension == "parquet":
        assert pq.read_table(folder).to_pylist() == whole
    assert (tmp_path / "whole" / "rejected.jsonl").read_bytes() == (tmp_path / "parts/rejected.jsonl").read_bytes()
    again = type(writer)()
    again.start(task(tmp_path / "parts", 1), overwrite=True)
    again.add(batch(0, [0], rows(1), SplitEnd(Tally(1))), np.ones((1, 2), np.float32))
    again.finish()
    assert not folder.exists(), "replaced as a file would be"


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    start = np.sort(random.integers(0, 2**62, 50))
    plan = Plan(("a.tsv", "b.tsv", "c.tsv"), SCHEMA, np.sort(random.integers(0, 3, 50)), start, start + 9, rows=77)
    read = plan_from_json(json.loads(json.dumps(plan_to_json(plan))))
    assert list(read) == list(plan)
    assert read.schema.equals(SCHEMA, check_metadata=True)
    assert read.rows == 77


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["id"], "../../etc"),
        (["id"], 5),
        (["format"], "stonkgs-plan-9"),
        (["files"], []),
        (["files"], [{}]),
        (["files"], 3),
        (["files", 0, "starts"], "0 x 3"),
        (["files", 0, "starts"], "0 7 3"),
        (["files", 0, "starts"], "-4 0"),
        (["files", 0, "stops"], "0"),
        (["rows"], "many"),
        (["schema"], "AAAA"),
        (["schema"], "%"),
        (["schema"], None),
        (["run"], None),
    ],
)
def test_a_plan_from_elsewhere_is_one_line(
    writer: PredictionWriter, tmp_path: Path, path: list[Any], value: Any
) -> None:
    writer.start(task(tmp_path, 2))
    values = json.loads((tmp_path / "plan.json").read_text())
    node = values
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    (tmp_path / "plan.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"plan.json") as caught:
        type(writer)().start(task(tmp_path, 2))
    assert "\n" not in str(caught.value)


def test_memory_held_of_a_batch_is_its_columns(writer: PredictionWriter, tmp_path: Path) -> None:
    """The numbers that the network reads are a hundred times the text."""
    writer.start(task(tmp_path, 1))
    wide = batch(0, [0], rows(1), None)
    wide.inputs = {**wide.inputs, "walks": {"graph": np.zeros((1, 10_000), np.int32)}}
    kept = weakref.ref(wide.graph)
    writer.add(wide, np.ones((1, 2), np.float32))
    del wide
    assert kept() is None


@pytest.mark.parametrize("column", ["yes", "prediction", "text_truncated"])
def test_an_output_column_never_hides_an_input_column(writer: PredictionWriter, tmp_path: Path, column: str) -> None:
    taken = task(tmp_path / "new", 1)
    taken.plan = replace(taken.plan, schema=SCHEMA.append(pa.field(column, pa.string())))
    with pytest.raises(UserError, match=rf"columns \['{column}'\].*writer\.prefix="):
        writer.start(taken)
    assert not (tmp_path / "new").exists(), "a refused run touches nothing"
    type(writer)(prefix="stonkgs_").start(taken)


def test_two_labels_of_one_name_are_refused(writer: PredictionWriter, tmp_path: Path) -> None:
    twice = task(tmp_path, 1)
    twice.answer = Probabilities(("yes", "yes"))
    with pytest.raises(UserError, match=r"named \['yes'\].*model\.labels="):
        writer.start(twice)


def test_a_rejection_may_stop_the_run(writer: PredictionWriter, tmp_path: Path) -> None:
    def stop(rejection: Rejection) -> None:
        raise UserError(rejection.reason)

    writer.start(task(tmp_path, 1, on_rejected=stop))
    rejection = Rejection("in.tsv", "two fields", b"x", offset=0, line=0)
    with pytest.raises(UserError, match="two fields"):
        writer.add(batch(0, [], [], SplitEnd(Tally(1)), [rejection]), np.zeros((0, 2), np.float32))


def test_a_folder_that_cannot_be_made(writer: PredictionWriter, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        writer.start(task(tmp_path / "file" / "out", 1))


def test_only_the_columns_that_are_asked_for(writer: PredictionWriter, tmp_path: Path) -> None:
    given = rows(20)
    everything = run(type(writer)(), tmp_path / "all", given, 7)
    some = run(type(writer)(columns=["number", "evidence"]), tmp_path / "some", given, 7)
    assert list(some[0])[:3] == ["number", "evidence", "no"]
    for all_of_it, part in zip(everything, some, strict=True):
        assert part == {name: all_of_it[name] for name in part}
    for columns, message in (
        (["nothing"], "has no column 'nothing'"),
        (["number", "number"], "names a column twice"),
    ):
        with pytest.raises(UserError, match=message):
            type(writer)(columns=columns).start(task(tmp_path / "refused", 1))
    with pytest.raises(UserError, match="must be a list of texts"):
        type(writer)(columns="number")
    assert not (tmp_path / "refused").exists()
