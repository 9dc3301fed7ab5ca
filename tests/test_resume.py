"""Killed anywhere, by anything, and continued by any number of processes: the same bytes as if nothing had been.

Most runs are forks of this process, with a model of a few milliseconds; a few are whole processes.
"""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import deaths
import forks
import pyarrow.parquet as pq
import pytest
import torch
from conftest import NODES, ROOT, write_lines

from stonkgs.cli import main
from stonkgs.runs.stamp import Stamp

WRITERS = ["tsv", "jsonl", "parquet"]


class Job:
    """A command over some statements, two of which are unusable, and what it gives when nobody disturbs it."""

    def __init__(self, folder: Path, model: Path, kge: Path, rows: int) -> None:
        self.folder = folder
        lines = [["id", "source", "target", "evidence"]]
        lines += [[str(n), NODES[n % 7], NODES[n % 11], "HIF1A " * (n % 6)] for n in range(rows)]
        for place in (7, rows // 2):
            lines.insert(place, ["bad"])
        write_lines(folder / "rows.tsv", lines)
        self.common = [f"model.path={model}", f"kge.path={kge}", f"source.path={folder}/rows.tsv"]
        self.common += ["threads=1", "split.rows=9", "batch.size=4"]

    def arguments(self, name: str, *more: str) -> list[str]:
        return [*self.common, f"output_dir={self.folder / name}", *more]

    def fork(self, name: str, *more: str, **options: object) -> int:
        log = self.folder / f"{name}-{time.monotonic_ns()}.log"
        return forks.fork(self.arguments(name, *more), log=log, **options)  # type: ignore[arg-type]

    def check(self, name: str, writer: str = "tsv") -> None:
        """The folder holds what an undisturbed run's does, and nothing else."""
        if not (self.folder / writer).exists():
            forks.run(self.arguments(writer, f"writer={writer}"), self.folder / f"{writer}.log")
        there, wanted = self.folder / name, self.folder / writer
        files = {f"predictions.{writer}", "rejected.jsonl", "run.json", "_SUCCESS"}
        assert {path.name for path in there.iterdir()} == files
        assert (there / "rejected.jsonl").read_bytes() == (wanted / "rejected.jsonl").read_bytes()
        if writer == "parquet":
            assert pq.read_table(there / f"predictions.{writer}").equals(
                pq.read_table(wanted / f"predictions.{writer}")
            )
        else:
            assert (there / f"predictions.{writer}").read_bytes() == (wanted / f"predictions.{writer}").read_bytes()
        results = [json.loads((folder / "run.json").read_text())["result"] for folder in (there, wanted)]
        assert results[0] == results[1]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, model_path: Path, kge_path: Path) -> Job:
    """Seven splits, after a run in this process: its forks then have all that takes time to load."""
    made = Job(tmp_path_factory.mktemp("job"), model_path, kge_path, rows=60)
    assert main(["predict", *made.arguments("warm")]) == 0
    return made


@pytest.fixture(scope="module")
def long_job(tmp_path_factory: pytest.TempPathFactory, model_path: Path, kge_path: Path, job: Job) -> Job:
    """A hundred splits."""
    return Job(tmp_path_factory.mktemp("long"), model_path, kge_path, rows=900)


#: What a run does whatever its writer is: where no death was seen at one of these, the test has seen nothing.
KNOWN = {
    *("mkdir .", "mkdir parts", "write parts/_plan.json.tmp", "link parts/_plan.json", "fsync ."),
    *("open parts/_N.jsonl.tmp", "write parts/_N.jsonl.tmp", "fsync parts/_N.jsonl.tmp", "rename parts/_N.jsonl.tmp"),
    *("write parts/_process.json.tmp", "remove parts/_process.json"),
    *("write parts/rejected.jsonl.tmp", "rename parts/rejected.jsonl.tmp", "rename parts/rejected.jsonl"),
    *("write parts/run.json.tmp", "fsync parts/run.json.tmp", "rename parts/run.json"),
    *("open _SUCCESS", "remove plan.json"),
}


def known(writer: str, merge: bool) -> set[str]:
    """The same with what differs by writer."""
    rows = {f"{operation} parts/N.{writer}.tmp" for operation in ("open", "write", "fsync", "rename")}
    joined = {f"{operation} parts/predictions.{writer}.tmp" for operation in ("open", "write", "fsync", "rename")}
    merged = joined | {f"rename parts/predictions.{writer}", f"remove gone/N.{writer}", "rmdir gone"}
    return KNOWN | rows | (merged if merge else {"fsync parts", "remove parts/_plan.json"})


def settings_of(writer: str, merge: bool) -> tuple[str, str]:
    return f"writer={writer}", f"merge={str(merge).lower()}"


@pytest.fixture
def told_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process does is told after every batch, and not by the clock: each run has the same operations."""
    monkeypatch.setattr("stonkgs.runs.presence.INTERVAL", 0.0)


def operations(job: Job, writer: str, merge: bool) -> list[str]:
    """What an undisturbed run does, in its order."""
    name, seen = f"{writer}-{merge}-recorded", job.folder / "recorded"
    before = deaths.recorded(job.folder / name, seen)
    assert forks.wait(job.fork(name, *settings_of(writer, merge), before=before)) == 0
    shutil.rmtree(job.folder / name)
    return seen.read_text().splitlines()


def killed_and_gone_on_with(job: Job, writer: str, merge: bool, number: int, *, half: bool = False) -> None:
    """Killed before the operation of this number, or in the middle of it, and then the same command again."""
    name, settings = f"{writer}-{merge}-{number}-{half}", settings_of(writer, merge)
    died = job.fork(name, *settings, before=deaths.die_before(job.folder / name, number, half=half))
    assert forks.wait(died) == -signal.SIGKILL
    assert forks.wait(job.fork(name, *settings)) == 0
    check_merged_or_parts(job, name, writer, merge)
    shutil.rmtree(job.folder / name)


def check_merged_or_parts(job: Job, name: str, writer: str, merge: bool) -> None:
    if merge:
        job.check(name, writer)
    else:
        check_parts(job, name)


@pytest.mark.usefixtures("told_always")
def test_killed_before_and_after_every_file_operation(job: Job) -> None:
    """At each place, at one of the times that a run comes by there, and with half of a write done."""
    seen = operations(job, "tsv", True)
    assert known("tsv", True) <= set(seen)
    numbers, halves = deaths.covering(seen, set(seen)), deaths.writing(seen, set(seen))
    assert len(numbers) > 50
    assert len(halves) >= 6
    for number in numbers:
        killed_and_gone_on_with(job, "tsv", True, number)
    for number in halves:
        killed_and_gone_on_with(job, "tsv", True, number, half=True)


@pytest.mark.deep
@pytest.mark.usefixtures("told_always")
@pytest.mark.parametrize(("writer", "merge"), [("jsonl", True), ("parquet", True), ("parquet", False)])
def test_killed_where_another_writer_does_another_thing(job: Job, writer: str, merge: bool) -> None:
    """At each place that a run with `writer=tsv` does not come by: `writer/test_law.py` does it without a model."""
    seen = operations(job, writer, merge)
    assert known(writer, merge) <= set(seen)
    own = set(seen) - set(operations(job, "tsv", True))
    assert {f"rename parts/N.{writer}.tmp", f"write parts/N.{writer}.tmp"} <= own
    for number in deaths.covering(seen, own):
        killed_and_gone_on_with(job, writer, merge, number)
    for number in deaths.writing(seen, own):
        killed_and_gone_on_with(job, writer, merge, number, half=True)


@pytest.mark.deep
@pytest.mark.usefixtures("told_always")
@pytest.mark.parametrize(("writer", "merge"), [("tsv", True), ("jsonl", True), ("parquet", True), ("parquet", False)])
def test_killed_at_every_single_operation(job: Job, writer: str, merge: bool) -> None:
    """Each time that a run comes by each place, and not only one of them."""
    seen = operations(job, writer, merge)
    for number, place in enumerate(seen):
        killed_and_gone_on_with(job, writer, merge, number)
        if place.startswith("write "):
            killed_and_gone_on_with(job, writer, merge, number, half=True)


def again_and_again(job: Job, name: str, *settings: str) -> set[str]:
    """The same command until nothing it does is new: the places where its attempts have died.

    Each attempt dies at the first operation at which none has died yet, before it, after it, or in the middle.
    """
    died = deaths.Deaths(job.folder / name, job.folder / f"{name}.deaths")
    attempts = 0
    while forks.wait(job.fork(name, *settings, before=died)):
        attempts += 1
        assert len(died.all()) == attempts, "each death is at a place of its own"
    for moment in ("before", "after"):
        assert len({place for when, place in died.all() if when == moment}) > 40
    return {place for _, place in died.all()}


def test_killed_again_and_again(job: Job) -> None:
    """What continues a run is killed too, wherever it does something: also where it clears away what others left."""
    places = again_and_again(job, "again-and-again", "writer=tsv")
    assert known("tsv", True) - {"write parts/_process.json.tmp", "remove parts/_process.json"} <= places
    assert "remove gone/N.tsv.tmp" in places, "what was half written is removed in the end"
    job.check("again-and-again")


@pytest.mark.deep
@pytest.mark.parametrize(("writer", "merge"), [("jsonl", True), ("parquet", True), ("parquet", False)])
def test_other_writers_killed_again_and_again(job: Job, writer: str, merge: bool) -> None:
    name = f"again-{writer}-{merge}"
    again_and_again(job, name, *settings_of(writer, merge))
    check_merged_or_parts(job, name, writer, merge)


@pytest.mark.deep
def test_killed_again_and_again_over_an_earlier_result(job: Job) -> None:
    """It stays until the new one takes its place, and no attempt is stopped by what the one before it has left."""
    earlier = ["writer=parquet", "merge=false"]
    forks.run(job.arguments("over", *earlier), job.folder / "over.log")
    places = again_and_again(job, "over", "writer=tsv", "overwrite=true")
    assert "remove gone/N.parquet" in places
    job.check("over")


def check_parts(job: Job, name: str) -> None:
    """merge=false: the parts are one data set."""
    there = job.folder / name
    assert {path.name for path in there.iterdir()} == {"parts", "rejected.jsonl", "run.json", "_SUCCESS"}
    table = pq.read_table(there / "parts")
    assert table.equals(pq.read_table(job.folder / "parquet" / "predictions.parquet"))
    assert all(path.suffix == ".parquet" for path in (there / "parts").iterdir())


def kill_at(share: float, folder: Path, numbers: Sequence[int]) -> None:
    """Kill processes when they have committed so much of a hundred splits, or are through."""
    while len(list(folder.glob("parts-*/0*"))) < 100 * share and not all(map(ended, numbers)):
        time.sleep(0.001)
    time.sleep(random.Random(share).uniform(0, 0.01))  # somewhere in the next split
    for number in numbers:
        os.kill(number, signal.SIGKILL)
    for number in numbers:
        forks.wait(number)


def ended(number: int) -> bool:
    return os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@pytest.mark.parametrize(
    "moments", [pytest.param(range(3), id="some"), pytest.param(range(3, 25), id="many", marks=pytest.mark.deep)]
)
def test_killed_at_any_moment(long_job: Job, moments: range) -> None:
    """One process, then three, then two: with each writer."""
    under_way = 0
    for moment in moments:
        writer, choice, name = WRITERS[moment % 3], random.Random(moment), f"moment-{moment}"
        settings = (f"writer={writer}", f"num_workers={moment % 2}", "start_method=fork")
        first, second = sorted(choice.uniform(0, 0.9) for _ in range(2))
        for share, count in ((first, 1), (second, 3)):
            numbers = [long_job.fork(name, *settings, f"splits={k}/{count}") for k in range(count)]
            kill_at(share, long_job.folder / name, numbers)
            under_way += (long_job.folder / name / "plan.json").exists()
        for number in [long_job.fork(name, *settings, f"splits={k}/2") for k in range(2)]:
            assert forks.wait(number) == 0
        long_job.check(name, writer)
    assert under_way > len(moments), "most of the kills, two a moment, were in the middle"


@pytest.mark.process
@pytest.mark.parametrize("count", [1, pytest.param(5, marks=pytest.mark.deep)])
def test_whole_processes_are_killed(long_job: Job, count: int) -> None:
    """So many side by side; then three and two each, as forks."""
    choice = random.Random(0)
    names = [f"process-{count}-{k}" for k in range(count)]
    command = [sys.executable, "predict.py"]
    started = {n: subprocess.Popen([*command, *long_job.arguments(n)], cwd=ROOT) for n in names}
    until = {name: choice.randrange(90) for name in names}
    while until:
        for name, process in started.items():
            parts = len(list(long_job.folder.glob(f"{name}/parts-*/0*")))
            if name in until and (parts >= max(1, until[name]) or process.poll() is not None):
                process.kill()
                del until[name]
        time.sleep(0.005)
    assert [process.wait() for process in started.values()].count(-signal.SIGKILL) > count / 2
    for name in names:
        numbers = [long_job.fork(name, f"splits={k}/3") for k in range(3)]
        kill_at(choice.uniform(0.2, 0.9), long_job.folder / name, numbers)
        for number in [long_job.fork(name, f"splits={k}/2") for k in range(2)]:
            assert forks.wait(number) == 0
        long_job.check(name)


def test_three_commands_at_the_same_moment(long_job: Job) -> None:
    for number in [long_job.fork("three") for _ in range(3)]:
        assert forks.wait(number) == 0
    long_job.check("three")


def test_more_processes_than_splits(job: Job) -> None:
    """Some of them have none, and some come when all is done."""
    for number in [job.fork("many", f"splits={k}/12") for k in range(12)]:
        assert forks.wait(number) == 0
    job.check("many")


def test_one_of_two_that_never_comes(job: Job) -> None:
    forks.run(job.arguments("one", "splits=1/2", "num_workers=2", "start_method=fork"), job.folder / "one.log")
    job.check("one")


def test_two_side_by_side(job: Job) -> None:
    for number in [job.fork("two", f"splits={k}/2", "num_workers=1", "start_method=fork") for k in range(2)]:
        assert forks.wait(number) == 0
    job.check("two")


@pytest.mark.deep
@pytest.mark.process
def test_two_side_by_side_under_forkserver(job: Job) -> None:
    """As whole processes: a fork cannot use the fork server of the process that it was made from."""
    command = [
        sys.executable,
        "predict.py",
        *job.arguments("two-forkserver", "num_workers=1", "start_method=forkserver"),
    ]
    started = [subprocess.Popen([*command, f"splits={k}/2"], cwd=ROOT) for k in range(2)]
    assert [process.wait(120) for process in started] == [0, 0]
    job.check("two-forkserver")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_full_disk(job: Job, writer: str, share: float) -> None:
    """Too small for a plan, a part or the whole: one line, and with more room the same command goes on."""
    job.check(writer, writer)  # for its size
    whole = (job.folder / writer / f"predictions.{writer}").stat().st_size
    name, log = f"full-{writer}-{share}", job.folder / "full.log"
    size = int(share * whole)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    number = forks.fork(job.arguments(name, f"writer={writer}"), log=log, before=limit)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 1
    assert not (job.folder / name / "_SUCCESS").exists()
    forks.run(job.arguments(name, f"writer={writer}"), log)
    job.check(name, writer)


def test_what_is_committed_is_not_read_again(job: Job) -> None:
    """A run that is continued reads what is missing: the log of opened files would not tell, the rows do.

    They are exchanged, with the stamp that tells of damage.
    """
    forks.wait(job.fork("again", before=deaths.die_before_the(job.folder / "again", "rename parts/N.tsv.tmp", 3)))
    (parts,) = (job.folder / "again").glob("parts-*")
    done = sorted(parts.glob("0*.tsv"))
    assert len(done) == 3
    for path in done:  # who reads them again would write them again
        path.write_bytes(path.read_bytes().replace(b"HIF1A", b"hif1a"))
        account = path.with_name(f"_{path.stem}.jsonl")
        first, *rejected, _ = account.read_bytes().splitlines(keepends=True)
        counts = json.dumps({**json.loads(first), "rows": asdict(Stamp.of(path))}).encode() + b"\n"
        whole = b"".join([counts, *rejected])
        account.write_bytes(whole + json.dumps({"sha256": hashlib.sha256(whole).hexdigest()}).encode() + b"\n")
    forks.run(job.arguments("again"), job.folder / "again.log")
    assert b"hif1a" in (job.folder / "again" / "predictions.tsv").read_bytes()


@pytest.fixture
def half(tmp_path: Path, small_run: list[str]) -> list[str]:
    """A command that was killed when it had begun."""
    write_lines(tmp_path / "more.tsv", [["source", "target", "evidence"], [NODES[0], NODES[1], "HIF1A"]])
    arguments = [*small_run, "threads=1", "split.rows=2"]
    before = deaths.die_before_the(tmp_path / "out", "rename parts/N.tsv.tmp", 1)
    assert forks.wait(forks.fork(arguments, log=tmp_path / "log", before=before)) == -signal.SIGKILL
    assert (tmp_path / "out" / "plan.json").exists()
    return arguments


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("more", "difference"),
    [
        (["batch.size=7"], "batch.size was 32, is 7"),
        (["batch.window=64"], "batch.window was 4096, is 64"),
        (["split.rows=3"], "split.rows was 2, is 3"),
        (["threads=2"], "threads was 1, is 2"),
        (["kge.match=exact"], "kge.match was null, is exact"),
        (["source.limit=2"], "source.limit was null, is 2"),
        (["source.quoting=none"], "source.quoting was csv, is none"),
        (["source.columns.evidence=target"], "source.columns.evidence was evidence, is target"),
        (["writer.prefix=p_"], "writer.prefix was , is p_"),
        (["writer=jsonl"], "writer._target_ was stonkgs.writer.tsv.TsvWriter, is stonkgs.writer.jsonl.JsonlWriter"),
        (["model.labels=[a,b]"], "the model's labels was"),
        (["trainer.precision=bf16-mixed"], "precision was 32-true, is bf16-mixed"),
    ],
)
def test_another_setting_is_refused(
    half: list[str], tmp_path: Path, more: list[str], difference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(tmp_path / "out")
    assert main(["predict", *half, *more]) == 1
    error = capsys.readouterr().err
    assert "holds a run that is not finished, and of other settings: " in error
    assert difference in error
    assert error.count("\n") == 1
    assert everything(tmp_path / "out") == before


def test_another_input_is_refused(half: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.tsv"
    before, stat = rows.read_bytes(), rows.stat()
    for content, time_ns, difference in (
        (before + b"a\tb\tc\n", stat.st_mtime_ns, f"had {stat.st_size:,} bytes, has {stat.st_size + 6:,}"),
        (before.replace(b"HIF1A", b"hif1a"), stat.st_mtime_ns, "has another content"),
        (before, stat.st_mtime_ns + 10**9, "was written at another time"),
    ):
        rows.write_bytes(content)
        os.utime(rows, ns=(time_ns, time_ns))
        assert main(["predict", *half]) == 1
        assert f"{rows} {difference}" in capsys.readouterr().err
    assert main(["predict", *half, f"source.path=[{rows},{tmp_path / 'more.tsv'}]"]) == 1
    assert "the input was 1 files, is 2" in capsys.readouterr().err


def test_what_moves_no_byte_may_change(half: list[str], tmp_path: Path) -> None:
    """Where the input is called, too: another machine may have it elsewhere."""
    moved = (tmp_path / "rows.tsv").rename(tmp_path / "moved.tsv")
    more = ["num_workers=1", "on_error=raise", "debug=true", f"source.path={moved}", "split.rows=null", "threads=null"]
    torch.set_num_threads(2)
    assert main(["predict", *half, *more]) == 0
    assert torch.get_num_threads() == 1, "as who has begun it decided: they move the last bits"
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["settings"]["split.rows"] == 2
    assert record["result"]["read"] == 3


def test_overwrite_starts_anew(half: list[str], tmp_path: Path) -> None:
    (parts,) = (tmp_path / "out").glob("parts-*")
    assert main(["predict", *half, "batch.size=7", "overwrite=true"]) == 0
    assert not parts.exists()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["config"]["batch"]["size"] == 7
