"""What walks and vectors of a large graph cost: seconds of a CPU, and the memory of the process at most.

python benchmarks/embedding.py --nodes 1000000 --edges 10000000 --methods walks biased netmf node2vec
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from stonkgs.graph.graph import Graph
from stonkgs.graph.netmf import NetMF
from stonkgs.graph.node2vec import Node2Vec
from stonkgs.graph.vectors import one_thread
from stonkgs.graph.walks import WalkRule

LENGTH, DIMENSION = 127, 64
METHODS = {"netmf": NetMF(), "node2vec": Node2Vec(epochs=1)}
RULES = {"walks": WalkRule(LENGTH, 1, 0), "biased": WalkRule(LENGTH, 1, 0, 0.5, 2.0)}


def main() -> None:
    """A line for each method, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--methods", nargs="+", default=[*RULES, *METHODS], choices=[*RULES, *METHODS])
    chosen = parser.parse_args()
    spawn = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        jobs: list[Callable[[], None]] = [partial(_draw, folder, chosen.nodes, chosen.edges)]
        for job in jobs + [partial(_measure, folder, name) for name in chosen.methods]:
            process = spawn.Process(target=job)
            process.start()
            process.join()


def _draw(folder: str, nodes: int, edges: int) -> None:
    """Write the arrays of a graph in which some nodes have far more neighbours than others."""
    random = np.random.default_rng(0)
    source, target = random.integers(nodes, size=edges), (random.random(edges) ** 2 * nodes).astype(np.int64)
    source, target = source[source != target], target[source != target]
    both = np.unique(np.concatenate([source * nodes + target, target * nodes + source]))
    np.save(Path(folder, "neighbours.npy"), (both % nodes).astype(np.int32))
    np.save(Path(folder, "starts.npy"), np.searchsorted(both // nodes, np.arange(nodes + 1)))


def _measure(folder: str, name: str) -> None:
    neighbours, starts = (np.load(Path(folder, f"{part}.npy"), mmap_mode="r") for part in ("neighbours", "starts"))
    nothing = np.zeros(0, np.int32)
    graph = Graph(nothing.view(np.uint8), starts, starts, neighbours, nothing, (), "")
    walks = np.memmap(Path(folder, "walks"), np.int32, "w+", shape=(graph.nodes, LENGTH))
    vectors = np.memmap(Path(folder, "vectors"), np.float32, "w+", shape=(graph.nodes, DIMENSION))
    begun = time.process_time()
    with one_thread():
        if name in RULES:
            RULES[name].fill(graph, walks)
        else:
            METHODS[name].learn(graph, vectors, walks)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"| {name} | {graph.nodes:,} | {graph.edges:,} | {time.process_time() - begun:.1f} | {memory:,.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
