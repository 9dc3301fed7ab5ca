"""Several commands begin one run: whoever is stopped where, all end well; also where there are no hard links."""

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deaths
import forks
import pytest
from conftest import NODES, write_lines

from stonkgs.cli import main
from stonkgs.disk import publish


@pytest.fixture
def job(tmp_path: Path, small_run: list[str]) -> list[str]:
    """A command over three splits; this process has loaded all that takes time."""
    rows = [[NODES[n % 7], NODES[n % 5], f"HIF1A {n}"] for n in range(20)]
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], *rows])
    arguments = [*small_run, "threads=1", "split.rows=9", "batch.size=4"]
    forks.run(to(arguments, tmp_path / "whole"), tmp_path / "log")
    return arguments


def to(arguments: list[str], out: Path) -> list[str]:
    return [word for word in arguments if not word.startswith("output_dir=")] + [f"output_dir={out}"]


def refuse_links() -> None:
    """For the rest of this process."""

    def link(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    os.link = link


def operations(arguments: list[str], out: Path, prepare: Callable[[], object]) -> list[str]:
    seen, watch = out.with_name("seen"), deaths.recorded(out, out.with_name("seen"))
    assert forks.wait(forks.fork(to(arguments, out), log=out.with_name("log"), before=both(prepare, watch))) == 0
    return seen.read_text().splitlines()


def both(first: Callable[[], object], second: Callable[[], object]) -> Callable[[], None]:
    def before() -> None:
        first()
        second()

    return before


def stop_before(folder: Path, number: int) -> Callable[[], None]:
    """To be called in a fork: it stops before its operation of this number, until somebody lets it go on."""

    def before() -> None:
        left = number

        def see(place: str, half: Callable[[], object] | None) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                os.kill(os.getpid(), signal.SIGSTOP)

        deaths.watch(folder, see)

    return before


def holds_a_lock(process: int) -> bool:
    return any(line.split()[4] == str(process) for line in Path("/proc/locks").read_text().splitlines())


def check(out: Path, whole: Path) -> None:
    assert {path.name for path in out.iterdir()} == {"predictions.tsv", "rejected.jsonl", "run.json", "_SUCCESS"}
    assert (out / "predictions.tsv").read_bytes() == (whole / "predictions.tsv").read_bytes()
    assert json.loads((out / "run.json").read_text())["result"]["predicted"] == 20


STARTS = 12  # operations


@pytest.mark.parametrize("prepare", [list, refuse_links], ids=["links", "no links"])
@pytest.mark.parametrize("some", [True, pytest.param(False, marks=pytest.mark.deep)], ids=["start", "anywhere"])
def test_stopped_while_another_command_does_it_all(
    job: list[str], tmp_path: Path, some: bool, prepare: Callable[[], object]
) -> None:
    """It finds the finished run, whatever it was about to do, and nothing of its own is left."""
    seen = operations(job, tmp_path / "recorded", prepare)
    begin = "link parts/_plan.json" if prepare is list else "open plan.json"
    assert begin in seen[:STARTS]
    for number in range(STARTS if some else len(seen)):
        out, log = tmp_path / str(number), tmp_path / f"log-{number}"
        stopped = forks.fork(to(job, out), log=log, before=both(prepare, stop_before(out, number)))
        _, status = os.waitpid(stopped, os.WUNTRACED)
        assert os.WIFSTOPPED(status), seen[number]
        other = forks.fork(to(job, out), log=tmp_path / "log", before=both(prepare, lambda: None))
        if not holds_a_lock(stopped):  # else the other one waits for it
            assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0, (
                seen[number],
                (tmp_path / "log").read_text(),
            )
            other = 0
        os.kill(stopped, signal.SIGCONT)
        for process in [stopped, other] if other else [stopped]:
            assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, (seen[number], log.read_text())
        check(out, tmp_path / "whole")


@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_where_links_are_refused(job: list[str], tmp_path: Path, overwrite: bool) -> None:
    """Before and in the midst of the copy: half of a plan, or an empty one, blocks nothing."""
    seen = operations(job, tmp_path / "recorded", refuse_links)
    places = [number for number, place in enumerate(seen) if place.endswith(" plan.json")]
    assert [seen[number] for number in places[:2]] == ["open plan.json", "write plan.json"]
    for number, half in [(places[0], False), (places[1], False), (places[1], True), (places[1] + 1, False)]:
        out = tmp_path / f"{number}-{half}"
        before = both(refuse_links, deaths.die_before(out, number, half=half))
        assert forks.wait(forks.fork(to(job, out), log=tmp_path / "log", before=before)) == -signal.SIGKILL
        if number == places[1]:
            assert (out / "plan.json").exists()
            assert not (out / "plan.json").read_text().endswith("\n}\n")
            assert main(["status", str(out)]) == 1, "no run has begun"
        more = [f"overwrite={str(overwrite).lower()}"]
        assert forks.wait(forks.fork([*to(job, out), *more], log=tmp_path / "log", before=refuse_links)) == 0
        check(out, tmp_path / "whole")


def test_an_empty_plan_of_somebody_else_stays(
    job: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plan.json").touch()
    for more in ([], ["overwrite=true"]):
        assert main(["predict", *job, *more]) == 1
        assert "holds plan.json, which no run wrote" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["plan.json"]


def test_three_at_once_where_links_are_refused(job: list[str], tmp_path: Path) -> None:
    for number in range(3):
        out = tmp_path / str(number)
        begun = [forks.fork(to(job, out), log=tmp_path / f"log-{k}", before=refuse_links) for k in range(3)]
        for k, process in enumerate(begun):
            assert forks.wait(process) == 0, (tmp_path / f"log-{k}").read_text()
        check(out, tmp_path / "whole")


def test_a_name_is_not_reserved_by_an_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where links are refused, a process may die between the two: an empty file would block the name for good."""

    def link(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    names: list[str] = []
    replace = Path.replace

    def replaced(path: Path, target: Path) -> Path:
        names.extend(other.name for other in tmp_path.iterdir())
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replaced)
    with publish(tmp_path / "a.tsv", replace=False) as file:
        file.write(b"whole")
    assert "a.tsv" not in names
    with pytest.raises(FileExistsError), publish(tmp_path / "a.tsv", replace=False) as file:
        file.write(b"another")
    assert (tmp_path / "a.tsv").read_bytes() == b"whole"
