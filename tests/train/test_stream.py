"""The stream of steps: each row once an epoch, in an order of seed and epoch alone, for any workers and processes."""

import io
import pickle
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import KINDS, LABELS, direction, planned, rows, selected, two_files, write
from torch.utils.data import DataLoader

from stonkgs.encode.encoder import Encoder, Example
from stonkgs.encode.inputs import Input
from stonkgs.model.predictor import Predictor
from stonkgs.protocol import TRAIN, Grouped
from stonkgs.source.base import Reader
from stonkgs.source.parquet import ParquetSource
from stonkgs.statement import Statement
from stonkgs.train.census import census
from stonkgs.train.schedule import Schedule
from stonkgs.train.selection import LabelledRow, Selection
from stonkgs.train.stream import POOL, Step, Stream, hardly_mixed, shuffled, split_order
from stonkgs.train.task import Task


class Tallying(Encoder):
    """An encoder that keeps what it was given."""

    def __init__(self, inputs: Mapping[str, Input]) -> None:
        super().__init__(inputs)
        self.given: list[Statement] = []

    def __call__(self, statements: Sequence[Statement]) -> list[Example]:
        self.given += statements
        return super().__call__(statements)


@dataclass
class Corpus:
    """A selection, and what reads it."""

    selection: Selection
    encoder: Tallying
    #: of each class in the training part; of a multi-label task all rows
    counts: Counter[Any]
    #: the training part's evidences, which are all different
    evidences: list[str]

    def stream(self, *, epoch: int = 0, start: int = 0, stop: int | None = None, **settings: Any) -> Stream:
        """Of a schedule with these settings, from an encoder with an empty tally."""
        own = {key: settings.pop(key, value) for key, value in {"rank": 0, "buffer": 1000, "weights": None}.items()}
        schedule = self.schedule(**settings)
        self.encoder.given = []
        stop = schedule.steps if stop is None else stop
        parts: dict[str, Any] = {"selection": self.selection, "encoder": self.encoder, "schedule": schedule}
        return Stream(**parts, **own, epoch=epoch, start=start, stop=stop)

    def schedule(self, **settings: Any) -> Schedule:
        counts = np.array([self.counts[key] for key in sorted(self.counts)], np.int64)
        return Schedule(**{"counts": counts, "epochs": 3, "size": 4, **settings})

    def evidences_of(self, **settings: Any) -> list[str]:
        """What is encoded, in order."""
        list(self.stream(**settings))
        return [statement.evidence for statement in self.encoder.given]


@pytest.fixture
def encoder(kge_path: Path, model_path: Path) -> Tallying:
    return Tallying(Predictor(str(model_path), str(kge_path)).encoder().inputs)


def corpus_of(reader: Reader, encoder: Tallying, task: Task, protocol: Grouped) -> Corpus:
    selection = selected(reader, task, protocol)
    part = [row for split in reader.plan for row in selection.rows(split, TRAIN)]
    counts = Counter(0 if task.multi_label else row.target for row in part)
    return Corpus(selection, encoder, counts, [row.statement.evidence for row in part])


@pytest.fixture(params=KINDS)
def every(request: pytest.FixtureRequest, tmp_path: Path, encoder: Tallying) -> Corpus:
    return corpus_of(two_files(tmp_path, request.param, LABELS), encoder, direction(), Grouped())


@pytest.fixture
def corpus(tmp_path: Path, encoder: Tallying) -> Corpus:
    return corpus_of(two_files(tmp_path, "tsv", LABELS), encoder, direction(), Grouped())


@pytest.fixture
def uneven(tmp_path: Path, encoder: Tallying) -> Corpus:
    """101 rows, all of which train, 20 of them of a rare class."""
    labels = ["" if n % 6 == 5 else "down" if n % 6 == 0 else "up" for n in range(121)]
    found = corpus_of(two_files(tmp_path, "tsv", labels), encoder, direction(), Grouped(validation=0, test=0))
    assert found.counts == {0: 21, 1: 80}
    return found


def contents(steps: Iterable[Step]) -> list[tuple[Any, ...]]:
    """Everything of each step that the network sees."""
    return [
        (
            step.number,
            step.weight,
            *(getattr(step.batch, name).tolist() for name in ("tokens", "text", "nodes", "graph")),
            step.targets.tolist(),
            step.targets.dtype,
        )
        for step in steps
    ]


def test_an_epoch_has_each_row_of_the_training_part_once(every: Corpus) -> None:
    for epoch in range(2):
        steps = list(every.stream(epoch=epoch))
        assert sorted(statement.evidence for statement in every.encoder.given) == sorted(every.evidences)
        count = every.schedule().steps
        assert [step.number for step in steps] == list(range(epoch * count, (epoch + 1) * count))
        assert [len(step.batch) for step in steps] == [len(step.targets) for step in steps]
        assert max(len(step.batch) for step in steps) == 4


def test_targets_are_the_rows_own(every: Corpus) -> None:
    part = [row for split in every.selection.reader.plan for row in every.selection.rows(split, TRAIN)]
    target = {row.statement.evidence: row.target for row in part}
    assert len(set(target.values())) == 2
    steps = list(every.stream())
    found = [one for step in steps for one in step.targets.tolist()]
    assert found == [target[statement.evidence] for statement in every.encoder.given]
    assert {step.targets.dtype for step in steps} == {np.dtype(np.int64)}


def test_a_step_is_of_the_rows_that_were_encoded_for_it(corpus: Corpus) -> None:
    steps = list(corpus.stream())
    given = iter(corpus.encoder.given)
    for step in steps:
        for place, text in enumerate(step.batch.text):
            example = Encoder.__call__(corpus.encoder, [next(given)])[0]
            assert step.batch.tokens[text, : step.batch.lengths[text]].tolist() == example.tokens.tolist()
            assert len(step.batch.graph[place]) == len(example.rows)


def test_the_order_follows_from_seed_and_epoch(every: Corpus) -> None:
    orders = {(seed, epoch): every.evidences_of(seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert len({tuple(order) for order in [*orders.values(), every.evidences]}) == 5
    for (seed, epoch), order in orders.items():
        assert every.evidences_of(seed=seed, epoch=epoch) == order
        assert pickle.loads(pickle.dumps(every)).evidences_of(seed=seed, epoch=epoch) == order


def test_what_stands_in_a_step_changes_with_seed_and_epoch(every: Corpus) -> None:
    """Not only the steps' order: rows meet other rows."""
    streams = [every.stream(**one) for one in ({}, {"epoch": 1}, {"seed": 1})]
    steps = [{frozenset(row.number for row in step) for step in stream.step_rows()} for stream in streams]
    assert all(len(one & other) < len(one) / 2 for one, other in combinations(steps, 2))
    orders = [[row.number for row in stream.rows()] for stream in streams]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == sorted(orders[0]) != order for order in orders)


def test_workers_do_not_show(every: Corpus) -> None:
    for settings_ in ({}, {"start": 5, "stop": 16}):
        stream = every.stream(epoch=1, **settings_)
        alone = contents(stream)
        for workers in (0, 2):
            loader: DataLoader[Any] = DataLoader(stream, batch_size=None, num_workers=workers)
            assert contents(loader) == alone


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("balanced", [False, True])
def test_processes_share_each_step(uneven: Corpus, world: int, balanced: bool) -> None:
    """Uneven: 101 rows, steps of 4 rows a process."""
    same: dict[str, Any] = {"world": world, "balanced": balanced, "epoch": 1}
    taken = [[row.statement.evidence for row in step] for step in uneven.stream(**same).step_rows()]
    assert sum(map(len, taken)) == 101
    shares: list[list[list[str]]] = []
    steps: list[list[Step]] = []
    for rank in range(world):
        steps.append(list(uneven.stream(**same, rank=rank)))
        given = iter(uneven.encoder.given)
        shares.append([[next(given).evidence for _ in range(len(step.batch))] for step in steps[-1]])
    assert {len(share) for share in shares} == {len(taken)} == {-(-101 // (4 * world))}
    for number, whole in enumerate(taken):
        parts = [share[number] for share in shares]
        assert sorted(one for part in parts for one in part) == sorted(whole)
        sizes = [len(part) for part in parts]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= 4
        assert {mine[number].weight for mine in steps} == {len(whole)}


def test_all_processes_take_what_one_takes(uneven: Corpus) -> None:
    """The same rows make a step, whether one process takes 12 of them or three take 4 each."""
    one = [{row.number for row in step} for step in uneven.stream(size=12).step_rows()]
    three = [{row.number for row in step} for step in uneven.stream(size=4, world=3).step_rows()]
    assert one == three


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (7, 19), (19, None), (7, None), (5, 5)])
def test_it_goes_on_from_any_step_without_encoding_what_is_done(corpus: Corpus, start: int, stop: int | None) -> None:
    whole = list(corpus.stream(epoch=2))
    left = list(corpus.stream(epoch=2, start=start, stop=stop))
    assert contents(left) == contents(whole)[start:stop]
    assert len(corpus.encoder.given) == sum(len(step.batch) for step in left)


@pytest.mark.parametrize("buffer", [1, 7, 10_000])
def test_any_buffer_gives_each_row_once(every: Corpus, buffer: int) -> None:
    assert sorted(every.evidences_of(buffer=buffer)) == sorted(every.evidences)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 80), st.integers(0, 99))
def test_the_buffer_shuffles(count: int, size: int, seed: int) -> None:
    rows_ = [LabelledRow(number, Statement("", "", ""), 0) for number in range(count)]
    asked: list[int] = []

    def asking() -> Iterable[LabelledRow]:
        for row in rows_:
            asked.append(row.number)
            yield row

    found = []
    for place, row in enumerate(shuffled(asking(), size, Random(seed))):
        found.append(row.number)
        assert len(asked) <= place + size + 1, "no more rows wait than that"
    assert sorted(found) == list(range(count))
    assert all(number <= place + size for place, number in enumerate(found))


def test_the_buffer_comes_to_all_orders() -> None:
    rows_ = [LabelledRow(number, Statement("", "", ""), 0) for number in range(4)]
    orders = Counter(tuple(row.number for row in shuffled(rows_, 9, Random(seed))) for seed in range(2400))
    assert len(orders) == 24
    assert max(orders.values()) < 2 * min(orders.values())


def test_steps_are_of_similar_lengths_and_shuffled(uneven: Corpus) -> None:
    stream = uneven.stream(size=2)
    lengths = [[len(row.statement.evidence) for row in step] for step in stream.step_rows()]
    assert len(lengths) > 3 * POOL
    for first in range(0, len(lengths), POOL):
        pool = lengths[first : first + POOL]
        ranges = sorted((min(step), max(step)) for step in pool)
        assert all(a[1] <= b[0] for a, b in pairwise(ranges)), "rows of a pool are cut by length"
        assert ranges != [(min(step), max(step)) for step in pool], "and its steps are in no order"


def test_a_balanced_epoch(uneven: Corpus) -> None:
    seen = Counter[str]()
    part = [row for split in uneven.selection.reader.plan for row in uneven.selection.rows(split, TRAIN)]
    target = {row.statement.evidence: row.target for row in part}
    for epoch in range(30):
        order = uneven.evidences_of(balanced=True, epoch=epoch, buffer=20)
        assert len(order) == uneven.schedule(balanced=True).sampled_rows(epoch) == 101
        by_class = Counter(target[evidence] for evidence in order)
        assert abs(by_class[0] - by_class[1]) == 1
        for evidence, copies in Counter(order).items():
            assert copies in ((2, 3) if target[evidence] == 0 else (1,)), "50.5 rows of 21 are two or three of each"
        seen.update(order)
    assert set(seen) == set(uneven.evidences), "over the epochs every row has its turn"
    for number, share in ((0, 50.5 / 21), (1, 50.5 / 80)):
        counts = [seen[evidence] / 30 for evidence in uneven.evidences if target[evidence] == number]
        assert sum(counts) / len(counts) == pytest.approx(share, abs=0.02)
        assert max(abs(count - share) for count in counts) < 0.4, "no row is preferred"


def test_the_weight_is_that_of_all_rows_of_the_step(uneven: Corpus) -> None:
    weights = np.array([2.5, 0.5])
    for world in (1, 2):
        steps = [list(uneven.stream(weights=weights, world=world, rank=rank)) for rank in range(world)]
        for shares in zip(*steps, strict=True):
            own = sum(float(weights[step.targets.astype(np.int64)].sum()) for step in shares)
            assert {step.weight for step in shares} == {own}


def test_targets_of_several_classes(tmp_path: Path, encoder: Tallying) -> None:
    reader = two_files(tmp_path, "tsv", LABELS)
    corpus = corpus_of(reader, encoder, direction(multi_label=True), Grouped())
    part = [row for split in reader.plan for row in corpus.selection.rows(split, TRAIN)]
    target = {row.statement.evidence: row.target for row in part}
    assert set(target.values()) == {(0,), (1,), (0, 1)}
    steps = [list(corpus.stream(world=2, rank=rank)) for rank in range(2)]
    for one, other in zip(*steps, strict=True):
        assert one.weight == other.weight == 2 * (len(one.batch) + len(other.batch))
    found = [row.tolist() for step in steps[1] for row in step.targets]
    assert {step.targets.dtype for step in steps[1]} == {np.dtype(np.float32)}
    hot = {(0,): [1, 0], (1,): [0, 1], (0, 1): [1, 1]}
    assert found == [hot[target[statement.evidence]] for statement in encoder.given]  # type: ignore[index]


def test_splits_of_a_packed_file_stay_in_order(tmp_path: Path) -> None:
    content = rows(LABELS)
    files = [write(tmp_path / name, content) for name in ("a.tsv", "b.gz", "c.tsv", "d.gz")]
    reader = planned(files)
    orders = [[split.number for split in split_order(reader, Random(seed))] for seed in range(20)]
    plan = list(reader.plan)
    where = {split.number: Path(split.file).name for split in plan}
    for order in orders:
        assert sorted(order) == list(range(len(plan)))
        for name in ("b.gz", "d.gz"):
            mine = [number for number in order if where[number] == name]
            at = order.index(mine[0])
            assert order[at : at + len(mine)] == mine == sorted(mine), "together, and in the file's order"
        for name in ("a.tsv", "c.tsv"):
            mine = [number for number in order if where[number] == name]
            assert mine != sorted(mine)
    assert len({tuple(order) for order in orders}) == 20


def test_other_columns_do_not_wait_in_memory(every: Corpus) -> None:
    list(every.stream())
    assert every.encoder.given
    assert all(not statement.extra for statement in every.encoder.given)


def test_a_column_that_is_encoded_stays(corpus: Corpus) -> None:
    """As the relation of the architecture triple."""
    next(iter(corpus.encoder.inputs.values())).columns = ("pmid",)
    list(corpus.stream())
    assert corpus.encoder.given
    assert all(statement.extra.keys() == {"pmid"} and statement.extra["pmid"] for statement in corpus.encoder.given)


def test_it_pickles_small(every: Corpus) -> None:
    stream = every.stream()
    expected = contents(stream)
    every.encoder.given = []
    packed = pickle.dumps(stream)
    assert len(packed) < 6000
    assert contents(pickle.loads(packed)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_hardly_mixed_is_told(kind: str, tmp_path: Path) -> None:
    """A compressed file is read in its order: what the buffer does not hold stays near its neighbours."""
    reader = two_files(tmp_path, kind, LABELS)
    counted = census(reader, direction(), Grouped(), io.BytesIO())
    told = list(hardly_mixed(reader, counted, 20))
    assert len(told) == (kind == "gz")
    assert not list(hardly_mixed(reader, counted, 1000))
    if told:
        half = counted.first[len(reader.plan) // 2]
        rows = max(half, counted.labelled - half) * counted.rows[TRAIN] / counted.labelled
        (number,) = re.findall(r"about (\d+) training rows", told[0])
        assert abs(int(number) - rows) <= 10
        assert told[0].endswith(f"or give batch.buffer={number}")


def test_a_split_that_is_larger_than_the_buffer_is_hardly_mixed_either(tmp_path: Path) -> None:
    given = [row for row in rows(LABELS) if row]
    table = pa.table({name: [row[name] for row in given] for name in given[0]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=120)
    source = ParquetSource(path=str(tmp_path / "rows.parquet"))
    for split, warned in ((6, 0), (1000, 1)):
        reader = source.reader(source.plan(split))
        counted = census(reader, direction(), Grouped(), io.BytesIO())
        assert len(list(hardly_mixed(reader, counted, 20))) == warned
