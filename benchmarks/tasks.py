"""How well tasks of the real corpora are learned on two cores: a small model, its baselines, and the majority class.

    python benchmarks/tasks.py FOLDER [--jobs 2] [--output benchmarks/tasks.md]

FOLDER keeps every training: cut short, the same command goes on. The corpora are read from STONKGS_CORPORA
(../shared/data). No pre-trained model can be had here: the model and the text-only baseline start from random weights,
and the vectors are those of the corpus' own graph, without labels or relations (`benchmarks/graph.py`).
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import NamedTuple

from graph import write_graph_store

#: Experiment, its file, and epochs: so many that each takes about as long.
TASKS = {
    "hbp_polarity": ("indra_hbp_edges.tsv.gz", 4),
    "hbp_interaction": ("indra_hbp_edges.tsv.gz", 4),
    "hbp_correct_binary": ("correctness_hbp_enrichment.tsv.gz", 8),
    "bel_species": ("bel_conib_hemekg.tsv.gz", 8),
    "bel_disease": ("bel_conib_hemekg.tsv.gz", 8),
}
#: Of 39,405 edges so many are drawn, for the baselines as for the model: two cores take hours for all of it.
MOST_ROWS = 6_000
#: A small model: one layer of backbone and joint BERT each, 64 wide as the vectors, walks of 16 nodes.
_SMALL = ["num_layers=1", "text_length=96", "words=8000"]
MODELS = {
    "tfidf": ["model=tfidf"],
    "tfidf_nodes": ["model=tfidf_nodes"],
    "graph_only": ["model=fresh", "model.architecture=graph_only", "optimizer.lr=1e-2"],
    "text_only": ["model=fresh", "model.architecture=text_only", "optimizer.lr=1e-3"],
    "stonkgs": ["model=fresh", "model.architecture=stonkgs", "optimizer.lr=1e-3"],
}
GROUPS = ("evidence", "pmid")
SEEDS = (0, 1, 2)
#: What the tables' columns are called.
TITLES = {
    "majority": "majority",
    "tfidf": "TF-IDF",
    "tfidf_nodes": "TF-IDF, nodes",
    "graph_only": "graph only",
    "text_only": "text only",
    "stonkgs": "STonKGs",
}


class Run(NamedTuple):
    """One training."""

    task: str
    by: str
    seed: int
    model: str

    def folder(self, root: Path) -> Path:
        """Where it writes."""
        return root / "-".join(map(str, self))

    def arguments(self, root: Path) -> list[str]:
        """Its command line."""
        file, epochs = TASKS[self.task]
        given = [f"experiment={self.task}", *MODELS[self.model], f"kge.path={store(root, file)}"]
        given += [f"model.{setting}" for setting in _SMALL if "fresh" in MODELS[self.model][0]]
        given += [f"protocol.by={self.by}", f"protocol.seed={self.seed}", f"seed={self.seed}", f"epochs={epochs}"]
        given += [f"protocol.max_rows={MOST_ROWS}", "monitor=weighted_f1", "patience=4"]
        return [*given, "threads=1", "trainer.accelerator=cpu", f"output_dir={self.folder(root)}"]


def store(root: Path, file: str) -> Path:
    """The store of a corpus' graph."""
    return root / f"{file.removesuffix('.tsv.gz')}.h5"


def runs() -> Iterator[Run]:
    """All of them, what takes longest first."""
    for model, task, by, seed in product(reversed(MODELS), TASKS, GROUPS, SEEDS):
        yield Run(task, by, seed, model)


def learn(run: Run, root: Path) -> Run:
    """Train, in this process."""
    from stonkgs.cli import main

    with open(os.devnull, "w") as nowhere:
        sys.stdout = nowhere
        status = main(["train", *run.arguments(root)])
        sys.stdout = sys.__stdout__
    if status:
        raise RuntimeError(f"{run}: exit status {status}")
    return run


def learn_all(root: Path, corpora: Path, jobs: int) -> None:
    """Every training that is not finished, `jobs` at a time, each on one thread."""
    root.mkdir(parents=True, exist_ok=True)
    for file in sorted({file for file, _ in TASKS.values()}):
        if not store(root, file).exists():
            write_graph_store([corpora / file], store(root, file))
    left = [run for run in runs() if not (run.folder(root) / "_SUCCESS").exists()]
    os.environ["STONKGS_CORPORA"] = str(corpora)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(learn, run, root) for run in left]), start=1):
            print(f"{done}/{len(left)}", *future.result(), flush=True)


def figure(root: Path, task: str, by: str, model: str, name: str) -> list[float]:
    """A figure of the test part, a value a seed."""
    found = []
    for seed in SEEDS:
        folder = Run(task, by, seed, "tfidf" if model == "majority" else model).folder(root)
        values = json.loads((folder / "metrics.json").read_text("utf-8"))
        found.append(values["majority" if model == "majority" else "test"][name])
    return found


def tables(root: Path) -> str:
    """All tables, as Markdown."""
    parts = []
    for by, (name, title) in product(GROUPS, (("weighted_f1", "weighted F1"), ("macro_f1", "macro F1"))):
        rows = [["task", *TITLES.values()], ["---", *["---:"] * len(TITLES)]]
        rows += [[task, *(shown(figure(root, task, by, model, name)) for model in TITLES)] for task in TASKS]
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        parts.append(f"### {title}, grouped by {by}\n\n{lines}\n")
    return "\n".join(parts)


def shown(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("tasks.md"))
    arguments = parser.parse_args()
    corpora = Path(os.environ.get("STONKGS_CORPORA", Path(__file__).resolve().parents[1] / "../shared/data")).resolve()
    learn_all(arguments.folder.resolve(), corpora, arguments.jobs)
    head, marker, _ = arguments.output.read_text("utf-8").partition("<!-- tables -->\n")
    arguments.output.write_text(f"{head}{marker}\n{tables(arguments.folder)}", "utf-8")


if __name__ == "__main__":
    main()
