"""The law of every source: each record is read once, by one worker of one process, in order within its split."""

import importlib
import inspect
import pickle
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from itertools import accumulate, product
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from source_samples import SAMPLES, Rows, Sample, rows
from torch.utils.data import ChainDataset, DataLoader
from torch.utils.data._utils.worker import WorkerInfo

import stonkgs.source
from stonkgs.errors import UserError
from stonkgs.source.base import ROLES, Reader, Source, World
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection, Statement


def sources() -> dict[str, type[Source]]:
    """Every source of the package that can be made, by name."""
    modules = [
        importlib.import_module(f"stonkgs.source.{item.name}") for item in pkgutil.iter_modules(stonkgs.source.__path__)
    ]
    classes = [kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)]
    return {kind.__name__: kind for kind in classes if issubclass(kind, Source) and not inspect.isabstract(kind)}


def files_of(*, ways: bool) -> Iterator[tuple[str, Sample, str, int]]:
    """(source, sample, way, number of files): in every way in which its files may be written, or in two ways.

    A file that can be cut anywhere is read by other code than one that cannot, whose splits are ranges of records;
    what else differs between ways meets neither the sizes of splits nor who reads them.
    """
    for kind, samples in SAMPLES.items():
        for sample in samples:
            some = {next(iter(sample.ways)), "gzip"}
            for way, files in product(sample.ways, (1, 3)):
                if ways or way in some:
                    yield kind, sample, way, files


def name_of(kind: str, sample: Sample, way: str, files: int, *more: object) -> str:
    return "-".join([kind, *sample.settings.values(), sample.rows.__name__, way, str(files), *map(str, more)])


CASES = [pytest.param(*case, id=name_of(*case)) for case in files_of(ways=True)]


def cases(values: Sequence[int], usual: int) -> list[Any]:
    """All values for two ways, the usual value for all ways over three files; all the rest is deep."""
    shallow = {(name_of(*case), value) for case in files_of(ways=False) for value in values}
    shallow |= {(name_of(*case), usual) for case in files_of(ways=True) if case[3] == 3}
    return [
        pytest.param(
            *(*case, value),
            id=name_of(*case, value),
            marks=[] if (name_of(*case), value) in shallow else [pytest.mark.deep],
        )
        for case in files_of(ways=True)
        for value in values
    ]


def made(folder: Path, kind: str, sample: Sample, way: str, files: int) -> tuple[Source, Rows]:
    """A source over some files, and what it is to read."""
    contents = [sample.rows(number * 100, 25 - 5 * number) for number in range(files)]
    paths = [folder / f"{number}.data" for number in range(files)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(sample.ways[way](content))
    source = sources()[kind](path=[str(path) for path in paths], **sample.settings)
    return source, [row for content in contents for row in content]


def names_columns(kind: str) -> bool:
    """Whether the user says which columns are the statement's: a format of a fixed schema has no such parameter."""
    return "columns" in inspect.signature(sources()[kind]).parameters


def limit_bytes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let no split be larger than this, in every module that cuts."""
    sources()
    modules = [module for name, module in sys.modules.items() if name.startswith("stonkgs.source.")]
    limited = [module for module in modules if "SPLIT_BYTES" in vars(module)]
    assert len(limited) > 1, "where it is defined, and where it is used"
    for module in limited:
        monkeypatch.setattr(module, "SPLIT_BYTES", size)


def told(record: Statement | Rejection) -> tuple[str, str, str, str]:
    assert isinstance(record, Statement), record
    note: str = next(record.extra[name] for name in ("note", "relation", "pmid") if name in record.extra)
    return record.source, record.target, record.evidence, note


def dealt(reader: Reader, world: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Rows]]:
    """(split, its rows) as every worker of every process reads it; 0 workers is the process itself."""
    for rank, worker in product(range(world), range(max(workers, 1))):
        mine = pickle.loads(pickle.dumps(reader.at(World(rank, world))))
        info = WorkerInfo(id=worker, num_workers=workers, seed=0, dataset=mine) if workers else None
        monkeypatch.setattr("stonkgs.source.base.get_worker_info", lambda info=info: info)
        splits = list(mine.splits())
        read = [[told(record) for record in mine.read(split)] for split in splits]
        assert [told(record) for record in mine] == [row for part in read for row in part]
        yield from zip((split.number for split in splits), read, strict=True)


def test_every_source_has_a_sample() -> None:
    assert sources()
    assert set(sources()) == set(SAMPLES)


def test_every_source_has_a_yaml_that_gives_its_defaults() -> None:
    found = {}
    for path in (Path(__file__).parents[2] / "configs" / "source").glob("*.yaml"):
        settings: Any = OmegaConf.to_container(OmegaConf.load(path))
        if "defaults" in settings:  # another one with a path
            continue
        kind = sources()[settings.pop("_target_").rpartition(".")[2]]
        assert kind.__module__ == f"stonkgs.source.{path.stem}"
        found[kind.__name__] = kind
        parameters = inspect.signature(kind).parameters
        assert list(settings) == list(parameters)
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        roles = {"columns": {role: role for role in ROLES}} if "columns" in defaults else {}
        assert settings == {**defaults, "path": "???", **roles}
    assert found == sources()


@pytest.mark.parametrize(("kind", "sample", "way", "files", "world"), cases(range(1, 5), 3))
def test_the_union_over_all_workers_is_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, sample: Sample, way: str, files: int, world: int
) -> None:
    source, expected = made(tmp_path, kind, sample, way, files)
    reader = source.reader(source.plan(2))
    for workers in range(4):
        found = sorted(dealt(reader, world, workers, monkeypatch))
        assert [number for number, _ in found] == list(range(len(reader.plan)))
        assert [row for _, read in found for row in read] == expected


@pytest.mark.parametrize(("kind", "sample", "way", "files", "size"), cases((1, 3, 50, 1 << 20), 50))
def test_splits_of_any_size_hold_each_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, sample: Sample, way: str, files: int, size: int
) -> None:
    limit_bytes(monkeypatch, size)
    source, expected = made(tmp_path, kind, sample, way, files)
    assert [told(record) for record in source.reader(source.plan(1000))] == expected


@pytest.mark.parametrize(("kind", "sample", "way", "files", "size"), cases((90, 1 << 20), 90))
def test_a_limit_takes_the_first_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, sample: Sample, way: str, files: int, size: int
) -> None:
    limit_bytes(monkeypatch, size)
    source, expected = made(tmp_path, kind, sample, way, files)
    counts = list(accumulate(25 - 5 * number for number in range(files)))
    assert counts[-1] == len(expected)
    for limit in (1, 24, *counts, counts[-1] + 9):
        source.limit = limit
        plan = source.plan(1000)
        assert [told(record) for record in source.reader(plan)] == expected[:limit]
        assert plan.rows == min(limit, len(expected))
        needed = sum(count < limit for count in counts[:-1]) + 1
        assert list(plan.files) == source.path[:needed]  # type: ignore[index]


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_limit_over_workers_and_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    source, expected = made(tmp_path, kind, SAMPLES[kind][0], next(iter(SAMPLES[kind][0].ways)), 3)
    source.limit = 31
    reader = source.reader(source.plan(2))
    for world, workers in ((1, 2), (2, 0), (3, 2)):
        found = sorted(dealt(reader, world, workers, monkeypatch))
        assert [row for _, read in found for row in read] == expected[:31]


@pytest.mark.parametrize("limit", [0, -1, True, 2.0, "5"])
@pytest.mark.parametrize("kind", SAMPLES)
def test_a_limit_is_a_count(tmp_path: Path, kind: str, limit: Any) -> None:
    with pytest.raises(UserError, match=r"source\.limit=.*: must be a whole number of 1 or more"):
        sources()[kind](path=str(tmp_path / "none"), limit=limit).plan(9)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_beyond_the_limit_is_still_checked(tmp_path: Path, kind: str) -> None:
    if not names_columns(kind):
        pytest.skip("its columns are the same in every file")
    if kind == "JsonlSource":
        pytest.skip("columns of JSONL are those of the first records, wherever they are")
    source, _ = made(tmp_path, kind, SAMPLES[kind][0], next(iter(SAMPLES[kind][0].ways)), 2)
    source.limit = 3
    write = SAMPLES[kind][0].ways[next(iter(SAMPLES[kind][0].ways))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("source_samples.NAMES", ["source", "target", "evidence", "other"])
        (tmp_path / "1.data").write_bytes(write(rows(0, 3)))
    with pytest.raises(UserError, match=r"1\.data: column 4 is 'other' .*0\.data it is 'note'"):
        source.plan(9)


@pytest.mark.parametrize(("kind", "sample", "way", "files"), CASES)
def test_a_source_pickles_and_its_plan_depends_on_the_input_alone(
    tmp_path: Path, kind: str, sample: Sample, way: str, files: int
) -> None:
    source, expected = made(tmp_path, kind, sample, way, files)
    again = pickle.loads(pickle.dumps(source))
    plan = source.plan(3)
    assert same(plan, again.plan(3))
    reader = source.reader(plan)
    next(iter(reader))
    assert [told(record) for record in pickle.loads(pickle.dumps(reader))] == expected
    assert [told(record) for record in reader] == [told(record) for record in reader] == expected
    assert same(source.plan(3), plan), "reading has changed nothing"
    assert [told(record) for record in source] == expected, "without a plan it makes its own"


def same(one: Plan, other: Plan) -> bool:
    return list(one) == list(other) and one.schema.equals(other.schema, check_metadata=True) and one.rows == other.rows


@pytest.mark.parametrize("kind", SAMPLES)
def test_making_a_source_opens_nothing(tmp_path: Path, kind: str) -> None:
    columns: dict[str, Any] = {"columns": {"source": "subject"}} if names_columns(kind) else {}
    source = sources()[kind](path=str(tmp_path / "none"), **columns)
    pickle.loads(pickle.dumps(source))
    with pytest.raises(UserError, match="no such file"):
        next(iter(source))


@pytest.mark.parametrize("context", ["fork", "forkserver"])
def test_two_real_workers_read_the_input_once(tmp_path: Path, context: str) -> None:
    """Of every source in turn: starting the workers is what takes the time."""
    cases = [(kind, sample, next(iter(sample.ways))) for kind, (sample, *_) in SAMPLES.items()]
    cases.append(("TsvSource", SAMPLES["TsvSource"][0], "frames"))
    readers, wanted = [], []
    for number, (kind, sample, way) in enumerate(cases):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        source, expected = made(folder, kind, sample, way, 2)
        reader = source.reader(source.plan(2))
        next(iter(reader))  # leaves its file open, which no worker may share
        readers.append(reader)
        wanted += expected
    together = ChainDataset(readers)
    loader: DataLoader[Any] = DataLoader(together, batch_size=None, num_workers=2, multiprocessing_context=context)
    assert sorted(map(told, loader)) == sorted(wanted)
