"""What it takes to make a store of a graph of triples: seconds and peak memory of whole processes.

python benchmarks/own_graph.py size --nodes 1000000 --edges 10000000
python benchmarks/own_graph.py strict
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from stonkgs.graph.build import build_graph
from stonkgs.graph.held_out import hold_out
from stonkgs.graph.leave_out import LeaveOut
from stonkgs.graph.reading import Reading
from stonkgs.graph.triples import TripleFiles
from stonkgs.kge.index import Scratch

#: triples that are drawn and written at a time
BLOCK = 500_000
#: where the real corpora lie
CORPORA = Path(os.environ.get("STONKGS_CORPORA", "../shared/data"))


def main() -> None:
    """Runs one of the measurements, or a step of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    size = commands.add_parser("size", help="a graph of any size: reading and numbering it, then a whole training")
    size.add_argument("--nodes", type=int, default=1_000_000)
    size.add_argument("--edges", type=int, default=10_000_000)
    size.add_argument("--folder", help="where to put triples and store; the system's temporary folder by default")
    size.add_argument("--only-graph", action="store_true", help="learn nothing")
    size.add_argument("settings", nargs="*", default=["method=netmf", "held_out=0"], help="of the training")
    commands.add_parser("strict", help="a strict store for each of five folds of a real corpus, by netmf")
    commands.add_parser("graph", help="a step of `size`").add_argument("file")
    arguments = parser.parse_args()
    if arguments.command == "graph":
        only_graph(arguments.file)
    elif arguments.command == "strict":
        strict()
    else:
        measure_size(arguments)


def measure_size(arguments: argparse.Namespace) -> None:
    """Write triples, and measure processes that read them."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        file = Path(folder) / "triples.tsv"
        write_triples(file, arguments.nodes, arguments.edges)
        print(f"{arguments.nodes:,} nodes, {arguments.edges:,} triples, {file.stat().st_size / 1e6:,.0f} MB of text")
        measured("imports alone", [sys.executable, "-c", "import own_graph"])
        measured("graph alone", [sys.executable, __file__, "graph", str(file)])
        if not arguments.only_graph:
            train = [sys.executable, "-m", "stonkgs", "kge", "train", "--triples", str(file)]
            train += ["--output", f"{folder}/kge.h5", *arguments.settings]
            measured(" ".join(arguments.settings), train)


def write_triples(file: Path, nodes: int, edges: int) -> None:
    """Random triples of four relations: sources mostly of low numbers, targets uniform."""
    random = np.random.default_rng(0)
    with open(file, "w") as out:
        for start in range(0, edges, BLOCK):
            count = min(BLOCK, edges - start)
            sources = (nodes * random.random(count) ** 2).astype(int).tolist()
            targets, kinds = random.integers(0, nodes, count).tolist(), random.integers(0, 4, count).tolist()
            out.writelines(
                f"p(HGNC:{source} ! G{source})\trelation{kind}\tp(HGNC:{target} ! G{target})\n"
                for source, kind, target in zip(sources, kinds, targets, strict=True)
            )


def only_graph(file: str) -> None:
    """Read triples, number them, sort them, and hold out edges."""
    triples, started = TripleFiles([file]), time.perf_counter()
    reading = Reading(triples, LeaveOut().choice(triples.columns, lambda: triples.rows(Counter())))
    folder = str(Path(file).parent)
    with Scratch(folder) as scratch:
        numbered = reading.numbered(scratch)
        print(f"  read and hashed {time.perf_counter() - started:.1f} s, {len(numbered.names.hashes):,} names")
        graph, _ = build_graph(reading, scratch, numbered)
        print(f"  numbered and sorted {time.perf_counter() - started:.1f} s, {graph.edges:,} edges")
        _, held = hold_out(graph, 0.1, 0, scratch)
        print(f"  {len(held):,} edges held out {time.perf_counter() - started:.1f} s")


def strict() -> None:
    """A strict store for each fold, by netmf, as users make them."""
    file = str(CORPORA / "indra_hbp_edges.tsv.gz")
    with tempfile.TemporaryDirectory() as folder:
        for fold in range(5):
            train = [sys.executable, "-m", "stonkgs", "kge", "train", f"source.path={file}", "--without", file]
            train += ["--by", "pmid", "--protocol", "folds", "--fold", str(fold)]
            measured(f"fold {fold}", [*train, "--output", f"{folder}/{fold}.h5", "method=netmf"])


def measured(name: str, command: list[str]) -> None:
    """Run a process, and print its seconds, its CPU seconds and its peak memory, with the pages of its maps."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, env=_with_benchmarks())
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{name}: failed")
    cpu = used.ru_utime + used.ru_stime
    print(f"{name}: {time.perf_counter() - started:.1f} s, {cpu:.1f} CPU s, {used.ru_maxrss / 1e3:,.0f} MB", flush=True)


def _with_benchmarks() -> dict[str, str]:
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


if __name__ == "__main__":
    main()
