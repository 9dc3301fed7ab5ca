"""The census: what is counted before a training, told, kept, and refused."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from labelled import KINDS, LABELS, USED, direction, planned, rows, selected, statements, two_files, write

from stonkgs.errors import UserError
from stonkgs.protocol import PARTS, TEST, TRAIN, VALIDATION, Everything, Grouped, Protocol, Shuffled
from stonkgs.source.base import Reader
from stonkgs.source.parquet import ParquetSource
from stonkgs.source.tsv import TsvSource
from stonkgs.train.census import Census, census
from stonkgs.train.task import Task

#: Of LABELS' rows those that cannot be read.
BAD_ROWS = 15


@pytest.fixture(params=KINDS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Reader:
    return two_files(tmp_path, request.param, LABELS)


def counted(reader: Reader, task: Task, protocol: Protocol, **settings: Any) -> Census:
    return census(reader, task, protocol, io.BytesIO(), **settings)


def refused(reader: Reader, task: Task, protocol: Protocol, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        counted(reader, task, protocol, **settings)
    return str(caught.value)


def test_everything_is_counted(reader: Reader) -> None:
    protocol = Grouped(by="pmid")
    found = counted(reader, direction(), protocol)
    assert found.classes.labels == ("down", "up")
    assert found.classes.counts == dict(sorted(Counter(USED.values()).items()))
    assert found.labelled == len(USED) == sum(found.rows.values())
    names = Counter(LABELS)
    assert found.unused == {
        "unlabelled": names[""],
        "ignored": names["odd"],
        "several values": names["up|down"],
        "too rare": names["rare"],
    }
    assert found.rejected == BAD_ROWS
    assert found.labelled + sum(found.unused.values()) == len(LABELS)
    # By hand: the part of each row, and the rows before each split.
    there = {int(row.extra["n"]): row for split in statements(reader) for row in split}
    part = {n: protocol.part(there[n], 0) for n in USED}
    assert found.rows == {name: sum(one == name for one in part.values()) for name in PARTS}
    assert found.parts == {
        name: {label: sum(part[n] == name and USED[n] == label for n in USED) for label in ("down", "up")}
        for name in PARTS
    }
    before = 0
    for first, split in zip(found.first, statements(reader), strict=True):
        assert first == before
        before += sum(int(row.extra["n"]) in USED for row in split)


def test_rows_of_several_classes_count_for_each(reader: Reader) -> None:
    task = Task(name="label", multi_label=True, where={"label": ["up", "down", "rare"]})
    found = counted(reader, task, Grouped(validation=0))
    names = Counter(LABELS)
    assert found.classes.counts == {"down": names["down"] + names["up|down"], "up": names["up"] + names["up|down"]}
    assert found.labelled == names["down"] + names["up"] + names["up|down"]
    assert found.unused == {"filtered": names[""] + names["odd"] + names["increase"], "too rare": 1}
    for part in (TRAIN, TEST):
        assert sum(found.parts[part].values()) > found.rows[part]


def test_several_rare_values_of_a_row_are_rare(tmp_path: Path) -> None:
    content = rows(["up", "down"] * 20 + ["odd|even", "rare|strange|other", "up"])
    reader = planned([write(tmp_path / "rows.tsv", content)])
    found = counted(reader, Task(name="label", multi_label=True), Grouped(validation=0))
    assert found.unused == {"too rare": 2}
    assert found.labelled == 41


def test_what_is_not_drawn_is_told(reader: Reader) -> None:
    found = counted(reader, direction(), Grouped(max_rows=60))
    assert sum(found.rows.values()) == 60
    assert found.labelled == len(USED)
    assert found.unused["not drawn"] == len(USED) - 60
    assert sum(sum(part.values()) for part in found.parts.values()) == 60


@pytest.mark.parametrize("kind", KINDS)
def test_rejected_rows_are_written_with_their_place(tmp_path: Path, kind: str) -> None:
    reader = two_files(tmp_path, kind, LABELS)
    out = io.BytesIO()
    census(reader, direction(), Grouped(), out)
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    places = [(Path(one["file"]).name, one["row"] if kind == "parquet" else one["line"]) for one in told]
    header = kind != "parquet"
    expected = [
        (f"{file}.{kind}", number + header)
        for file, content in enumerate((rows(LABELS[:75]), rows(LABELS[75:], 75)))
        for number, row in enumerate(content, start=1)
        if row is None
    ]
    assert places == expected
    assert len(places) == BAD_ROWS
    assert all(one["reason"] for one in told)
    if header:
        assert {one["raw"] for one in told} == {"too\tfew"}


def test_it_is_the_same_from_json(reader: Reader) -> None:
    for task in (direction(), direction(multi_label=True)):
        found = counted(reader, task, Grouped(max_rows=100))
        again = Census.from_json(json.loads(json.dumps(found.to_json())))
        assert again.to_json() == found.to_json()
        assert again.report() == found.report()
        assert again.classes == found.classes
        assert (again.first.dtype, again.first.tolist()) == (found.first.dtype, found.first.tolist())
        selections = [one.selection(reader, task, Grouped(max_rows=100)) for one in (found, again)]
        read = [[row for split in reader.plan for row in one.rows(split, TRAIN)] for one in selections]
        assert read[0] == read[1]
        assert len(read[0]) == found.rows[TRAIN]


def test_what_was_counted_is_what_is_read(reader: Reader) -> None:
    """Also by a protocol that has to know how many rows there are."""
    pytest.importorskip("sklearn")
    for make in (Grouped, Shuffled):
        found = counted(reader, direction(), make(max_rows=80))
        selection = found.selection(reader, direction(), make(max_rows=80))
        by_hand = selected(reader, direction(), make(max_rows=80))
        for part, count in found.rows.items():
            mine = [row.number for split in reader.plan for row in selection.rows(split, part)]
            assert len(mine) == count
            assert mine == [row.number for split in reader.plan for row in by_hand.rows(split, part)]


def test_a_finished_models_classes(reader: Reader) -> None:
    found = counted(reader, direction(), Everything(), labels=("up", "never", "down", "rare"))
    assert found.classes.labels == ("up", "never", "down", "rare")
    assert found.rows == {TEST: len(USED) + 1}
    assert found.parts[TEST] == {**dict.fromkeys(("never",), 0), **Counter(USED.values()), "rare": 1}
    assert list(found.parts[TEST]) == ["up", "never", "down", "rare"]
    assert found.warnings == [
        "the test part has no row of never: figures over all classes count it as 0",
        "the test part has fewer than 10 rows of rare: their figures say little",
    ]
    message = refused(reader, direction(), Everything(), labels=("up", "never"))
    assert "values of no class" in message
    assert "'down'" in message


def test_classes_that_a_part_lacks_are_told(tmp_path: Path) -> None:
    content = rows(["up", "down"] * 30 + ["none"] * 2)
    reader = planned([write(tmp_path / "rows.tsv", content)])
    last = statements(reader)[-1][-2:]
    seed = next(seed for seed in range(200) if {Grouped(seed=seed).part(row, 0) for row in last} == {TRAIN})
    found = counted(reader, Task(name="label"), Grouped(seed=seed))
    assert found.parts[TRAIN]["none"] == 2
    absent = [warning for warning in found.warnings if "no row of none: figures over all classes" in warning]
    assert [warning.split()[1] for warning in absent] == [VALIDATION, TEST]
    few = ", ".join(name for name in ("down", "up") if found.parts[TEST][name] < 10)
    assert few
    assert found.warnings[2:] == [f"the test part has fewer than 10 rows of {few}: their figures say little"]


def lonely(path: Path, labels: list[str], label: str) -> tuple[Reader, Grouped]:
    """A reader whose rows of one label are all of one paper, and a division that has it in the test part."""
    content = rows(labels)
    for row in content:
        if row is not None and row["label"] == label:
            row["pmid"] = "the one"
    reader = planned([write(path, content)])
    last = statements(reader)[-1][-1]
    seed = next(seed for seed in range(200) if Grouped(by="pmid", seed=seed).part(last, 0) == TEST)
    return reader, Grouped(by="pmid", seed=seed)


def test_a_class_outside_the_training_part_is_told(tmp_path: Path) -> None:
    reader, protocol = lonely(tmp_path / "rows.tsv", ["up", "down"] * 30 + ["none"] * 2, "none")
    found = counted(reader, Task(name="label"), protocol)
    assert found.parts["train"]["none"] == 0
    assert "the train part has no row of none: it cannot be learned" in found.warnings


def test_one_class_in_the_training_part(tmp_path: Path) -> None:
    reader, protocol = lonely(tmp_path / "rows.tsv", ["up"] * 30 + ["down"] * 2, "down")
    message = refused(reader, Task(name="label"), protocol)
    assert message.startswith("the training part has no class but 'up' (grouped by pmid")


def test_a_part_without_rows(reader: Reader) -> None:
    message = refused(reader, direction(), Grouped(test=0))
    assert message.startswith(f"the test part has no rows of {len(USED)} (grouped by evidence, test 0,")
    message = refused(reader, direction(), Grouped(validation=1e-9))
    assert message.startswith("the validation part has no rows")


def test_missing_columns(reader: Reader) -> None:
    message = refused(reader, Task(name="labels"), Grouped())
    assert message.startswith(
        "task 'labels': no column 'labels'; there are ['n', 'label', 'pmid']; did you mean 'label'?"
    )
    message = refused(reader, direction(where={"belief": [1]}), Grouped())
    assert "no column 'belief'" in message
    message = refused(reader, direction(), Grouped(by="paper"))
    assert message == "protocol.by=paper: the input has no such column; there are evidence and ['n', 'label', 'pmid']"


def test_too_many_values_are_another_column(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stonkgs.train.census.MOST_VALUES", 20)
    assert counted(reader, direction(), Grouped()).labelled
    message = refused(reader, Task(name="n"), Grouped())
    assert message.startswith("column 'n' has over 20 distinct values; is it the label?")


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_called_truth(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelled.NAMES", ("source", "target", "evidence", "truth", "label", "pmid"))
    reader = two_files(tmp_path, kind, LABELS)
    assert isinstance(reader.source, ParquetSource if kind == "parquet" else TsvSource)
    assert refused(reader, direction(), Grouped()) == (
        "the input has a column 'truth', which evaluation adds; rename it"
    )
