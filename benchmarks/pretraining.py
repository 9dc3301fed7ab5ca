"""Whether a small model is better where it was pre-trained on the corpus' own statements before it is fine-tuned.

    python benchmarks/pretraining.py FOLDER [--jobs 2] [--output benchmarks/pretraining.md]

FOLDER keeps every training: cut short, the same command goes on. The corpora are read from STONKGS_CORPORA
(../shared/data). For each task and seed the papers that will be tested are left out of the graph and of the
pre-training (`without`), and then the same model is fine-tuned twice: from the pre-trained weights, and from random
ones with the same vocabulary.
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

#: Experiment, its file, and the epochs of fine-tuning.
TASKS = {"bel_disease": ("bel_conib_hemekg.tsv.gz", 8), "bel_polarity": ("bel_conib_hemekg.tsv.gz", 4)}
SEEDS = (0, 1, 2)
#: Where a fine-tuning starts.
STARTS = ("random", "pretrained")
#: The epochs of a pre-training.
EPOCHS = 3
#: As in benchmarks/tasks.py.
MOST_ROWS = 6_000
SMALL = ["model.num_layers=1", "model.text_length=96", "model.words=8000"]
FIGURES = {"weighted_f1": "weighted F1", "macro_f1": "macro F1"}


def protocol(seed: int) -> list[str]:
    """How rows are divided: the same in graph, pre-training and fine-tuning."""
    return ["protocol=grouped", "protocol.by=pmid", f"protocol.seed={seed}"]


def commands(root: Path, corpora: Path, seed: int) -> Iterator[tuple[Path, list[str]]]:
    """Yields what each command of a seed leaves when it has finished, and the command."""
    file = corpora / TASKS["bel_disease"][0]
    store, pretrained = root / f"strict-{seed}.h5", root / f"pretrained-{seed}"
    common = ["threads=1", "trainer.accelerator=cpu", f"kge.path={store}", f"seed={seed}"]
    graph = [f"source.path={file}", "without=groups", *protocol(seed), "held_out=0"]
    yield store, ["kge", "train", "--output", str(store), *graph, "method=netmf", "method.walk_length=16"]
    reading = ["experiment=pretrain", f"source.path={file}", "without=groups", *protocol(seed), "model.backbone=fresh"]
    reading += [f"epochs={EPOCHS}", "optimizer.lr=1e-3", f"output_dir={pretrained}"]
    yield pretrained / "_SUCCESS", ["train", *reading, *SMALL, *common]
    models = {
        "random": ["model=fresh", *SMALL, f"model.vocabulary={pretrained / 'vocab.txt'}"],
        "pretrained": [f"model.path={pretrained / 'model'}"],
    }
    for task, start in product(TASKS, STARTS):
        given = [f"experiment={task}", *protocol(seed), f"protocol.max_rows={MOST_ROWS}", *models[start]]
        given += [f"epochs={TASKS[task][1]}", "monitor=weighted_f1", "patience=4", "freeze_backbone=false"]
        folder = root / f"{task}-{start}-{seed}"
        yield folder / "_SUCCESS", ["train", *given, "optimizer.lr=1e-3", f"output_dir={folder}", *common]


def learn(root: Path, corpora: Path, seed: int) -> int:
    """Run the commands of a seed that have not finished, in this process."""
    from stonkgs.cli import main

    for finished, command in commands(root, corpora, seed):
        if finished.exists():
            continue
        with open(os.devnull, "w") as nowhere:
            sys.stdout = nowhere
            status = main(command)
            sys.stdout = sys.__stdout__
        if status:
            raise RuntimeError(f"{command}: exit status {status}")
    return seed


def figures(root: Path, task: str, start: str, name: str) -> list[float]:
    """A figure of the test part, a value a seed."""
    part, folder = ("majority", STARTS[0]) if start == "majority" else ("test", start)
    files = (root / f"{task}-{folder}-{seed}" / "metrics.json" for seed in SEEDS)
    return [json.loads(file.read_text("utf-8"))[part][name] for file in files]


def table(root: Path, name: str) -> str:
    """A figure of every task, as a Markdown table."""
    rows = [["task", "majority", "random weights", "pre-trained", "difference"], ["---", *["---:"] * 4]]
    for task in TASKS:
        majority, random, pretrained = (figures(root, task, start, name) for start in ("majority", *STARTS))
        gains = [one - other for one, other in zip(pretrained, random, strict=True)]
        rows.append([task, *map(shown, (majority, random, pretrained)), f"{shown(gains, sign='+')}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def shown(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation over the seeds."""
    return f"{statistics.mean(values):{sign}.3f} ± {statistics.stdev(values):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("pretraining.md"))
    arguments = parser.parse_args()
    root: Path = arguments.folder.resolve()
    root.mkdir(parents=True, exist_ok=True)
    corpora = Path(os.environ.get("STONKGS_CORPORA", Path(__file__).resolve().parents[1] / "../shared/data")).resolve()
    os.environ["STONKGS_CORPORA"] = str(corpora)
    with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(learn, root, corpora, seed) for seed in SEEDS]):
            print("seed", future.result(), flush=True)
    tables = "\n\n".join(f"### {title}\n\n{table(root, name)}" for name, title in FIGURES.items())
    head, marker, _ = arguments.output.read_text("utf-8").partition("<!-- tables -->\n")
    arguments.output.write_text(f"{head}{marker}\n{tables}\n", "utf-8")


if __name__ == "__main__":
    main()
