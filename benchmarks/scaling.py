"""What splits, commits and several processes cost and gain.

python benchmarks/scaling.py processes    one against two processes, the example's model, one thread each
python benchmarks/scaling.py splits       the default split size against an unsplit run
python benchmarks/scaling.py many         1,000 and 10,000 splits of 100 rows: planning, committing, resuming, joining

`processes` runs the real command in processes of their own; the others run in forks of this one, so that what they
need to start does not count.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from synthetic import write_model, write_statements, write_store

# Sets what torch reads when it is imported.
from stonkgs.cli.command import CONFIG_DIR, DATA_DIR  # isort: skip
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from stonkgs.predict import predict

EXAMPLE = DATA_DIR / "example"


def main() -> None:
    """The benchmark that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["processes", "splits", "many"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 2_048])
    parser.add_argument("--splits", type=int, nargs="+", default=[1_000, 10_000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.what == "processes":
            processes(Path(name), arguments.rounds, arguments.rows)
        elif arguments.what == "splits":
            splits(Path(name), arguments.rounds, arguments.rows, arguments.sizes)
        else:
            many(Path(name), arguments.splits)


def repeated_example(folder: Path, rows: int) -> Path:
    """The example's statements, over and over."""
    header, *lines = (EXAMPLE / "statements.tsv").read_text("utf-8").splitlines(keepends=True)
    path = folder / "statements.tsv"
    path.write_text(header + "".join(lines[number % len(lines)] for number in range(rows)), "utf-8")
    return path


def example(source: Path, output: Path, *more: str) -> list[str]:
    """Arguments of `predict` for the example's model, one thread."""
    paths = {"source.path": source, "model.path": EXAMPLE / "model", "kge.path": EXAMPLE / "kge.h5"}
    return [*(f"{key}={path}" for key, path in paths.items()), f"output_dir={output}", "threads=1", *more]


def processes(folder: Path, rounds: int, rows: int) -> None:
    """Rows/s of one and of two processes, from their start to their end less what a run of 32 rows takes."""
    source = repeated_example(folder, rows)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    starts: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for count in (1, 2):
            starts[count].append(side_by_side(folder / f"start-{number}-{count}", source, count, "source.limit=32"))
            seconds[count].append(side_by_side(folder / f"whole-{number}-{count}", source, count))
    net = {count: median(seconds[count]) - median(starts[count]) for count in (1, 2)}
    print("| processes | s | of which to start | rows/s | of one |\n|---|---|---|---|---|")
    for count in (1, 2):
        figures = (median(seconds[count]), median(starts[count]), rows / net[count], net[1] / net[count])
        print("| {} | {:.1f} | {:.1f} | {:,.0f} | {:.2f} |".format(count, *figures))


def side_by_side(output: Path, source: Path, count: int, *more: str) -> float:
    """Seconds until the last of `count` processes that share a folder has ended."""
    command = [sys.executable, "-m", "stonkgs", "predict"]
    started = time.perf_counter()
    running = [
        subprocess.Popen(
            [*command, *example(source, output, f"splits={number}/{count}", *more)], stdout=subprocess.DEVNULL
        )
        for number in range(count)
    ]
    assert all(process.wait() == 0 for process in running)
    return time.perf_counter() - started


def splits(folder: Path, rounds: int, rows: int, sizes: Sequence[int]) -> None:
    """Seconds of runs with splits of several sizes and of one without any, paired; a fork's own start is in each."""
    source = repeated_example(folder, rows)
    configs = {size: composed(example(source, folder / "out", f"split.rows={size}")) for size in (rows, *sizes)}
    seconds: dict[int, list[float]] = {size: [] for size in configs}
    for number in range(rounds + 1):
        for size, config in configs.items():
            config.output_dir = str(folder / f"{size}-{number}")
            took, _ = forked(lambda config=config: predict(config))  # type: ignore[misc]
            if number:  # the first round warms the files
                seconds[size].append(took)
    print(f"| rows a split | s of {rows:,} rows | of unsplit |\n|---|---|---|")
    for size, times in seconds.items():
        ratio = median(a / b for a, b in zip(times, seconds[rows], strict=True))
        print(f"| {size:,}{' (unsplit)' * (size == rows)} | {median(times):.2f} | {ratio:.3f} |")


def many(folder: Path, counts: Sequence[int]) -> None:
    """A run that is killed when half of its splits are committed, and continued; what each stage takes."""
    write_store(folder / "kge.h5", nodes=1_000, dimension=8, walk_length=4)
    write_model(folder / "model", hidden=8, layers=1, text_length=16, walk_length=4)
    print(
        "| splits | plan | first half | resume to its first split | second half | join | MB at most |\n"
        + 7 * "|---"
        + "|"
    )
    for count in counts:
        source = write_statements(folder / f"{count}.tsv", rows=100 * count, nodes=1_000, words=4)
        paths = {"model.path": folder / "model", "kge.path": folder / "kge.h5", "source.path": source}
        arguments = [f"{key}={path}" for key, path in paths.items()]
        output = folder / f"out-{count}"
        sizes = ["split.rows=100", "batch.size=128", "threads=1", "trainer.accelerator=cpu"]
        config = composed([*arguments, f"output_dir={output}", *sizes])
        stages, peak = interrupted(config, output)
        print(
            f"| {len_of_plan(output):,} | " + " | ".join(f"{s:.2f} s" for s in stages) + f" | {peak:.0f} |", flush=True
        )


def interrupted(config: DictConfig, output: Path) -> tuple[list[float], float]:
    """Seconds of each stage of a run that is killed at half and continued, and the most memory of its processes."""
    started = time.perf_counter()
    first = fork(lambda: predict(config))
    planned = waited((output / "plan.json").exists)
    (parts,) = output.glob("parts-*")
    count = len_of_plan(output)
    half = waited((parts / f"{count // 2:08d}.tsv").exists)
    before = memory(first)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    again = time.perf_counter()
    second = fork(lambda: predict(config))
    resumed = waited((parts / f"{count // 2 + 2:08d}.tsv").exists)
    done = waited((parts / f"{count - 1:08d}.tsv").exists)
    _, status, usage = os.wait4(second, 0)
    ended = time.perf_counter()
    assert status == 0
    stages = [planned - started, half - planned, resumed - again, done - resumed, ended - done]
    return stages, max(before, usage.ru_maxrss / 1e3)


def len_of_plan(output: Path) -> int:
    """Splits, of a run that is under way or finished."""
    plan = output / "plan.json"
    if plan.exists():
        return sum(len(file["starts"].split()) for file in json.loads(plan.read_text())["files"])
    return int(json.loads((output / "run.json").read_text())["splits"])


def waited(there: Callable[[], bool]) -> float:
    """The moment from which something is there."""
    while not there():
        time.sleep(0.002)
    return time.perf_counter()


def memory(process: int) -> float:
    """The most MB that a process has held up to now."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def composed(arguments: Sequence[str]) -> DictConfig:
    """What the command line makes of its arguments."""
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose("predict", list(arguments))


def forked(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of some work in a fork, and the most MB that it held."""
    started = time.perf_counter()
    _, status, usage = os.wait4(fork(work), 0)
    assert status == 0
    return time.perf_counter() - started, usage.ru_maxrss / 1e3


def fork(work: Callable[[], object]) -> int:
    """Some work in a fork with one thread; its number."""
    if number := os.fork():
        return number
    status = 1
    try:
        torch.set_num_threads(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
