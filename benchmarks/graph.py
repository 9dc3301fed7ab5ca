"""A KGE store of a corpus's own graph: real names, structure and size where no published embeddings are to be had.

python benchmarks/graph.py ../shared/data/indra_hbp_edges.tsv.gz --output kge.h5
"""

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from scipy import sparse
from scipy.sparse.linalg import svds

from stonkgs.errors import UserError
from stonkgs.kge.build import build

Floats = npt.NDArray[np.float64]

#: Steps between two nodes that count as near. A third fills a fifth to a third of the square matrix.
WINDOW = 2


def main() -> None:
    """The store of the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, nargs="+", metavar="TSV")
    parser.add_argument("--output", type=Path, required=True, metavar="H5")
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--walk-length", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    sizes = {"dimension": chosen.dimension, "walk_length": chosen.walk_length, "seed": chosen.seed}
    print(write_graph_store(chosen.corpora, chosen.output, **sizes))


def write_graph_store(
    corpora: Sequence[Path], path: Path, *, dimension: int = 64, walk_length: int = 16, seed: int = 0
) -> Path:
    """A store of all nodes of some TSVs with the columns `source` and `target`, quoted as pandas does it.

    Its graph is who stands in a row with whom, and nothing else of the rows: no relation, no label, not how often. An
    existing file is replaced. Raises UserError where the nodes are too few for the dimension.
    """
    names, edges = read_graph(corpora)
    vectors, walks = embed(edges, dimension, seed=seed), walk(edges, walk_length, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "vectors.tsv"), Path(folder, "walks.tsv")
        write_rows(inputs[0], names, ([f"{value:.6g}" for value in row] for row in vectors))
        write_rows(inputs[1], names, ([names[node] for node in row] for row in walks))
        build(vectors=str(inputs[0]), walks=str(inputs[1]), output=str(path), overwrite=True)
    return path


def read_graph(corpora: Sequence[Path]) -> tuple[list[str], Any]:
    """The N names in their order, and their edges: a symmetric scipy.sparse.csr_array [N, N] of 0 and 1."""
    table = pa.concat_tables([_pairs(path) for path in corpora])
    both = np.concatenate([table["source"].to_numpy(), table["target"].to_numpy()])
    names, numbers = np.unique(both, return_inverse=True)
    start, stop = numbers.reshape(2, -1)
    # A node that is its own neighbour tells nothing.
    start, stop = start[start != stop], stop[start != stop]
    places = np.concatenate([start, stop]), np.concatenate([stop, start])
    edges = sparse.csr_array((np.ones(len(places[0])), places), shape=(len(names), len(names)))
    edges.data[:] = 1  # pairs that came more than once were added up
    return names.tolist(), edges


def _pairs(path: Path) -> pa.Table:
    """Two text columns, without rows of a name that no store can be built with: empty, or one with a tab or newline."""
    kinds = {"source": pa.string(), "target": pa.string()}
    table = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter="\t", newlines_in_values=True),
        convert_options=csv.ConvertOptions(include_columns=list(kinds), column_types=kinds),
    )
    usable = [pc.match_substring_regex(table[name], r"^[^\t\r\n\x00]+$") for name in kinds]
    return table.filter(pc.and_(*usable))


def embed(edges: Any, dimension: int, *, seed: int) -> Floats:
    """NetMF (Qiu et al. 2018, algorithm 3, one negative sample): [N, dimension].

    DeepWalk's windows tend to vol / (T D) sum P^r, r = 1..T, with the degrees D, their sum vol, P = A / D and T =
    WINDOW; its logarithm, from 0 on, is split into left vectors times the roots of the singular values. A node without
    neighbours is at 0.

    The mean square of the numbers is 1: a vector stands in a row with the last hidden states of a text backbone, which
    a LayerNorm has left at about that, and what is much smaller drowns in the position that is added to it.
    """
    nodes = edges.shape[0]
    if nodes <= dimension:
        raise UserError(f"the graph has {nodes} nodes, too few for {dimension} dimensions; name a larger one")
    degrees = edges.sum(axis=1)
    inverse = sparse.diags_array(1 / np.maximum(degrees, 1))
    reach = step = inverse @ edges
    for _ in range(WINDOW - 1):
        reach = step + step @ reach
    near = sparse.csr_array(reach @ inverse * (degrees.sum() / WINDOW))
    near.data = np.log(np.maximum(near.data, 1))
    near.eliminate_zeros()
    # What the iteration starts from is drawn at random by default.
    left, values, _ = svds(near, dimension, v0=np.random.default_rng(seed).standard_normal(nodes))
    vectors = left * np.sqrt(values)
    return np.asarray(vectors / np.sqrt((vectors**2).mean()))


def walk(edges: Any, length: int, *, seed: int) -> npt.NDArray[np.int32]:
    """A random walk of `length` nodes from each node on, itself first: [N, length]; without neighbours it stays."""
    generator = np.random.default_rng(seed)
    degrees = np.diff(edges.indptr)
    walks = np.empty((len(degrees), length), np.int32)
    walks[:, 0] = here = np.arange(len(degrees))
    for place in range(1, length):
        drawn = (generator.random(len(here)) * degrees[here]).astype(np.int64)
        moves = degrees[here] > 0
        here[moves] = edges.indices[edges.indptr[here[moves]] + drawn[moves]]
        walks[:, place] = here
    return walks


def write_rows(path: Path, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A name and its values a line, between tabs: what `stonkgs kge build` reads."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines("\t".join([name, *row]) + "\n" for name, row in zip(names, rows, strict=True))


if __name__ == "__main__":
    main()
