"""Parts: each labelled row is in one of them, as it was, with what is true of it."""

import pickle
from itertools import product
from pathlib import Path

import pytest
from labelled import KINDS, LABELS, NAMES, USED, direction, selected, two_files

from stonkgs.protocol import PARTS, TEST, TRAIN, VALIDATION, Everything, Grouped, Protocol
from stonkgs.source.base import Reader, World
from stonkgs.statement import Statement
from stonkgs.train.selection import TRUTH, PartReader, Selection
from stonkgs.train.task import Task


@pytest.fixture(params=KINDS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Reader:
    return two_files(tmp_path, request.param, LABELS)


def part_of(selection: Selection, part: str) -> list[Statement]:
    found = [row for split in selection.reader.plan for row in PartReader.of(selection, part, 0).read(split)]
    assert all(isinstance(row, Statement) for row in found), "what cannot be read is passed over"
    return [row for row in found if isinstance(row, Statement)]


def numbers(rows: list[Statement]) -> list[int]:
    return [int(row.extra["n"]) for row in rows]


@pytest.mark.parametrize("protocol", [Grouped(), Grouped(by="pmid"), Grouped(folds=3, fold=1)])
def test_each_labelled_row_is_in_one_part(reader: Reader, protocol: Protocol) -> None:
    selection = selected(reader, direction(), protocol)
    parts = {part: part_of(selection, part) for part in PARTS}
    assert sorted(n for rows in parts.values() for n in numbers(rows)) == sorted(USED)
    for part, rows in parts.items():
        assert rows
        assert numbers(rows) == sorted(numbers(rows)), "in the input's order"
        for row in rows:
            assert protocol.part(row, 0) == part
    pmids = [{row.extra["pmid"] for row in rows} for rows in parts.values()]
    if protocol.columns():
        assert sum(map(len, pmids)) == len(set.union(*pmids))


def test_a_row_of_a_part_is_as_it_was_and_has_its_truth(reader: Reader) -> None:
    selection = selected(reader, direction(), Grouped())
    there = [row for split in reader.plan for row in reader.read(split) if isinstance(row, Statement)]
    before = {int(row.extra["n"]): row for row in there}
    for part in PARTS:
        for row in part_of(selection, part):
            n = int(row.extra["n"])
            assert row.extra[TRUTH] == USED[n]
            assert list(row.extra) == [*NAMES[3:], TRUTH]
            rest = {key: value for key, value in row.extra.items() if key != TRUTH}
            assert Statement(row.source, row.target, row.evidence, rest) == before[n]
    part_plan = PartReader.of(selection, TEST, 41).plan
    assert part_plan.schema.names == [*NAMES, TRUTH]
    assert part_plan.rows == 41
    assert list(part_plan) == list(reader.plan)
    assert TRUTH not in reader.plan.schema.names, "the reader itself is as it was"


def test_a_row_of_several_classes_has_them_all_for_truth(reader: Reader) -> None:
    selection = selected(reader, direction(multi_label=True), Everything())
    rows = part_of(selection, TEST)
    both = [n for n, name in enumerate(LABELS) if name == "up|down"]
    assert both
    assert numbers(rows) == sorted([*USED, *both])
    for row in rows:
        assert row.extra[TRUTH] == USED.get(int(row.extra["n"]), "down|up")


def test_numbers_count_the_labelled_rows(reader: Reader) -> None:
    """Whichever split is read first."""
    selection = selected(reader, direction(), Everything(max_rows=30))
    splits = list(reader.plan)
    rows = [row for split in reversed(splits) for row in selection.labelled(split)]
    used = list(USED)
    assert len(rows) == 30
    for row in rows:
        n = int(row.statement.extra["n"])
        assert used[row.number] == n
        assert isinstance(row.target, int)
        assert selection.classes.labels[row.target] == USED[n]
        assert selection.protocol.drawn(row.number)


def test_shares_of_processes_make_the_part(reader: Reader) -> None:
    """As the flow that predicts reads it, from a pickle."""
    part = PartReader.of(selected(reader, direction(), Grouped()), TRAIN, 0)
    expected = numbers(part_of(part.selection, TRAIN))
    for world in (1, 2, 3):
        shares = [pickle.loads(pickle.dumps(part.at(World(rank, world)))) for rank in range(world)]
        found = [[int(row.extra["n"]) for row in share] for share in shares]
        assert sorted(n for share in found for n in share) == expected
        assert all(share and share != expected for share in found) or world == 1


def test_files_and_lines_are_the_sources_own(tmp_path: Path) -> None:
    reader = two_files(tmp_path, "tsv", LABELS)
    part = PartReader.of(selected(reader, direction(), Grouped()), VALIDATION, 0)
    assert part.source is reader.source
    assert [part.source.first_line(file) for file in part.plan.files] == [2, 2]


@pytest.mark.parametrize(("kind", "split"), [*product(KINDS, (2, 11))])
def test_parts_do_not_depend_on_the_splits(tmp_path: Path, kind: str, split: int) -> None:
    found = []
    for size in (6, split):
        reader = two_files(tmp_path, kind, LABELS, size)
        selection = selected(reader, Task(name="label", min_count=3, ignore=["odd"]), Grouped(max_rows=70))
        found.append([numbers(part_of(selection, part)) for part in PARTS])
    assert found[0] == found[1]
    assert sum(map(len, found[0])) == 70
