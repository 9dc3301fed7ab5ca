"""Makes faults in a copy of the project, one at a time, and tells whether the tests notice: see README.md here.

python tests/faults.py [NAME ...] [--list] [--check] [--all] [--jobs 2] [--root CHECKOUT]
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TABLE: Final = Path(__file__).with_suffix(".toml")
#: Seconds that the named tests of a fault may take, and those that the whole suite may.
LIMIT, LIMIT_OF_ALL = 900, 7200
#: What pytest's exit statuses mean here; any other one is no verdict: a fault that no test can even be collected with.
VERDICTS: Final = {0: "SURVIVED", 1: "caught"}


@dataclass(frozen=True, slots=True)
class Edit:
    """A text that occurs once in a file, and what is put in its place."""

    file: str
    old: str
    new: str

    def elsewhere(self, root: Path) -> str:
        """Where the text is once, for a message: code is moved."""
        files = [path for path in root.glob("stonkgs/**/*.py") if path.read_text("utf-8").count(self.old) == 1]
        return "".join(f"; once in {path.relative_to(root)}" for path in sorted(files))


@dataclass(frozen=True, slots=True)
class Fault:
    """A promise, how the code is changed so that it is broken, and the tests that are to notice."""

    name: str
    promise: str
    tests: tuple[str, ...]
    edits: tuple[Edit, ...]

    def applied(self, root: Path) -> dict[Path, str]:
        """The changed files' new texts. Raises ValueError where an edit fits no place, or several."""
        texts: dict[Path, str] = {}
        for edit in self.edits:
            path = root / edit.file
            text = texts.get(path) or (path.read_text("utf-8") if path.is_file() else "")
            if (count := text.count(edit.old)) != 1:
                raise ValueError(
                    f"{self.name}: {edit.old.strip()!r} is {count} times in {edit.file}{edit.elsewhere(root)}"
                )
            texts[path] = text.replace(edit.old, edit.new)
            compile(texts[path], str(path), "exec")
        return texts


@dataclass(frozen=True, slots=True)
class Result:
    """What came of running tests: a verdict, the first test that failed, and the end of the output."""

    verdict: str
    first: str
    output: str
    seconds: float


def load(path: Path = TABLE) -> list[Fault]:
    """The table of all faults."""
    entries = tomllib.loads(path.read_text("utf-8"))["fault"]
    return [
        Fault(entry["name"], entry["promise"], tuple(entry["tests"]), tuple(Edit(**edit) for edit in entry["edit"]))
        for entry in entries
    ]


@contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy of the checkout's files, those that git knows and new ones, in a folder that is then removed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory(prefix="stonkgs-fault-") as folder:
        copy = Path(folder) / "checkout"
        for name in filter(None, listed.split("\0")):
            if (root / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, copy / name)
        yield copy


def tested(copy: Path, root: Path, tests: Sequence[str], limit: float, *, stop: bool) -> Result:
    """Run tests of a copy of the checkout `root` over the copy's own package; with `stop`, up to the first failure."""
    paths = os.pathsep.join(filter(None, [str(copy), os.environ.get("PYTHONPATH")]))
    shared = os.environ.get("STONKGS_SHARED", str(root.parent / "shared"))
    environment = os.environ | {"PYTHONPATH": paths, "STONKGS_SHARED": shared, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "--tb=line",
        "-p",
        "no:cacheprovider",
        *(["-x"] if stop else []),
    ]
    started = time.monotonic()
    # A session of its own: where the time is over, what the tests have started ends too.
    process = subprocess.Popen(
        [*command, *tests], cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=limit)
        verdict = VERDICTS.get(process.returncode, f"NO VERDICT (pytest's status is {process.returncode})")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, verdict = process.communicate()[0], f"NO VERDICT in {limit:.0f} s"
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    return Result(verdict, failed[1] if failed else "", output, time.monotonic() - started)


def judged(fault: Fault, root: Path, *, everything: bool) -> Result:
    """Make one fault in a copy, and run its tests there."""
    with copied(root) as copy:
        for path, text in fault.applied(copy).items():
            path.write_text(text, "utf-8")
        tests = () if everything else fault.tests
        result = tested(copy, root, tests, LIMIT_OF_ALL if everything else LIMIT, stop=True)
    print(f"{result.verdict:10} {fault.name:36} {result.seconds:6.1f} s  {result.first}", flush=True)
    return result


def unharmed(faults: Sequence[Fault], root: Path, *, everything: bool) -> Result:
    """Run all tests of these faults without any of them."""
    # In the suite's own order: in another one a test may meet what an earlier one has left.
    tests = () if everything else sorted({test for fault in faults for test in fault.tests})
    with copied(root) as copy:
        return tested(copy, root, tests, LIMIT_OF_ALL if everything else 2 * LIMIT, stop=False)


def check(faults: Sequence[Fault], root: Path) -> list[str]:
    """What is wrong with the table: edits that do not fit, tests that are not there."""
    wrong = []
    for fault in faults:
        try:
            fault.applied(root)
        except (ValueError, SyntaxError) as error:
            wrong.append(str(error))
        wrong += [f"{fault.name}: there is no test {test}" for test in fault.tests if not _is_there(root, test)]
    return wrong


def _is_there(root: Path, test: str) -> bool:
    """Whether a test is in its file, or a file or folder of tests is there."""
    file, _, name = test.partition("::")
    path, function = root / file, f"def {name.partition('[')[0]}("
    return path.exists() and (not name or function in path.read_text("utf-8"))


def main(argv: Sequence[str]) -> int:
    """Judge the faults of these names, or all; 0 where each is caught."""
    arguments = _parser().parse_args(argv)
    faults, root = load(), arguments.root.resolve()
    if unknown := set(arguments.names) - {fault.name for fault in faults}:
        print(f"there is no fault {', '.join(sorted(unknown))}: --list shows all", file=sys.stderr)
        return 2
    faults = [fault for fault in faults if not arguments.names or fault.name in arguments.names]
    if arguments.list:
        print("\n".join(f"{fault.name:36} {fault.promise}" for fault in faults))
        return 0
    if wrong := check(faults, root):
        print("\n".join(wrong), file=sys.stderr)
        return 2
    return 0 if arguments.check else _judge_all(faults, root, arguments.jobs, everything=arguments.all)


def _judge_all(faults: Sequence[Fault], root: Path, jobs: int, *, everything: bool) -> int:
    before = unharmed(faults, root, everything=everything)
    if before.verdict != VERDICTS[0]:
        print(f"{before.output}\nThe tests fail without any fault; mend that first.", file=sys.stderr)
        return 2
    print(f"unharmed: the tests pass, {before.seconds:.1f} s", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(partial(judged, root=root, everything=everything), faults))
    found = dict(zip(faults, results, strict=True))
    left = {fault: result for fault, result in found.items() if result.verdict != VERDICTS[1]}
    for fault, result in left.items():
        tail = "" if result.verdict == VERDICTS[0] else "\n".join(result.output.splitlines()[-15:])
        print(f"\n{fault.name}: {result.verdict}\n  {fault.promise}\n{tail}")
    print(f"\n{len(found) - len(left)} of {len(found)} faults are caught")
    return 1 if left else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faults.py", description="Faults on purpose: do the tests notice?")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of faults; without any, all")
    parser.add_argument("--list", action="store_true", help="show the names, and the promise that each breaks")
    parser.add_argument("--check", action="store_true", help="see that each fault fits the code, and run nothing")
    parser.add_argument("--all", action="store_true", help="run all tests for each fault, not those that it names")
    parser.add_argument("--jobs", type=int, default=1, help="faults that are judged at the same time")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout; by default the one that this is in")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
