"""Memory after few and after many rows: the proportional set size (PSS) of a run, its workers alive.

python benchmarks/memory.py --rows 5000 200000 --workers 0 2
python benchmarks/memory.py --skewed --rows 5000 2000000 --workers 0
python benchmarks/memory.py --train --rows 5000 200000 --workers 0

Of a prediction, or of one epoch of a training. With --skewed, of a file of long records at first, and then of short
lines that cannot be used: a split of as many bytes as the first ones would have millions of rows. Each run is the real
command in a process of its own. A callback that the command line adds reads /proc after each batch of the last 2,048
rows before each number of rows: memory rises and falls with the batches of a split, so that a single reading says
little. The store is warm: all its pages were touched before the first reading.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytorch_lightning as pl
from synthetic import node_name, write_model, write_statements, write_store

from stonkgs.batch import Batch
from stonkgs.engine.lightning import StatementModule
from stonkgs.model.predictor import Predictor
from stonkgs.train.module import FineTuning
from stonkgs.train.stream import Step

NODES = 20_000


#: Readings are taken over this many rows.
WINDOW = 2_048


class ReadMemory(pl.Callback):
    """Writes the PSS of this process and its children, in MB, over the rows before each number of rows."""

    def __init__(self, *, rows: list[int], output: str) -> None:
        self.pending = sorted(rows)
        self.output = output
        self.readings: dict[int, list[dict[str, float]]] = {row: [] for row in rows}
        self.seen = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warm the store."""
        self.on_predict_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """Read, if one of the numbers is near."""
        self.read(len(batch.batch))

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warm the store."""
        assert isinstance(pl_module, StatementModule | FineTuning)
        rater = pl_module.responder if isinstance(pl_module, StatementModule) else pl_module.predictor
        assert isinstance(rater, Predictor)
        rater.kge.vectors.sum()
        rater.kge.walks.sum()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Read, if one of the numbers is near."""
        self.read(len(batch) + len(batch.rejected))

    def read(self, rows: int) -> None:
        """So many rows more are through."""
        self.seen += rows
        if self.pending and self.seen > self.pending[0] - WINDOW:
            self.readings[self.pending[0]].append(proportional_set_size())
        if self.pending and self.seen >= self.pending[0]:
            self.pending.pop(0)
            Path(self.output).write_text(json.dumps(self.readings))


def proportional_set_size() -> dict[str, float]:
    """MB of this process and of its children, shared pages divided among those that share them."""
    own = psutil.Process()
    return {
        "main": own.memory_full_info().pss / 1e6,
        "workers": sum(child.memory_full_info().pss for child in own.children(recursive=True)) / 1e6,
    }


def measure(folder: Path, rows: list[int], workers: int, *, train: bool) -> dict[str, list[dict[str, float]]]:
    """One run; readings in MB by number of rows."""
    output = folder / f"memory-{workers}.json"
    callback = f"{{_target_: memory.ReadMemory, rows: {rows}, output: {output}}}"
    kind = ["train", "task=polarity", "epochs=1", "protocol.test=0.05", "protocol.validation=0.05"]
    command = [
        *[
            sys.executable,
            "-m",
            "stonkgs",
            *(kind if train else ["predict"]),
            f"+trainer.callbacks=[{callback}]",
            f"num_workers={workers}",
        ],
        *[f"model.path={folder / 'model'}", f"kge.path={folder / 'kge.h5'}", f"source.path={folder / 'rows.tsv'}"],
        *[f"output_dir={folder / f'out-{workers}'}", "batch.size=64", "trainer.accelerator=cpu"],
    ]
    search = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": search})
    readings: dict[str, list[dict[str, float]]] = json.loads(output.read_text())
    return readings


def write_skewed(path: Path, rows: int) -> None:
    """A TSV whose first 100 rows have 20,000 characters each, and whose others are one character and no row."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("id\tsource\ttarget\tevidence\n")
        file.writelines(f"{row}\t{node_name(row)}\t{node_name(row + 1)}\t{'we found ' * 2_222}\n" for row in range(100))
        file.writelines("x\n" for _ in range(rows - 100))


def label(path: Path) -> None:
    """Add a column `polarity` that follows from nothing."""
    with open(path, encoding="utf-8") as rows, open(path.with_suffix(".new"), "w", encoding="utf-8") as to:
        to.write(next(rows).rstrip("\n") + "\tpolarity\n")
        to.writelines(f"{row.rstrip(chr(10))}\t{('down', 'up')[number % 2]}\n" for number, row in enumerate(rows))
    path.with_suffix(".new").replace(path)


def main() -> None:
    """Make a model, a store and statements in a temporary folder, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 200_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--train", action="store_true", help="one epoch of a training")
    parser.add_argument("--skewed", action="store_true", help="a file that is unlike its first rows")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder / "kge.h5", nodes=NODES, dimension=32, walk_length=16)
        write_model(folder / "model", hidden=32, layers=2, text_length=64, walk_length=16)
        count = max(arguments.rows) + 5_000
        if arguments.skewed:
            write_skewed(folder / "rows.tsv", count)
        else:
            write_statements(folder / "rows.tsv", rows=count + (count // 6 if arguments.train else 0), nodes=NODES)
        if arguments.train:
            label(folder / "rows.tsv")
        print("| workers | rows | main MB | workers MB | PSS MB: median | max |\n|---|---|---|---|---|---|")
        for workers in arguments.workers:
            for rows, readings in measure(folder, arguments.rows, workers, train=arguments.train).items():
                parts = [median(reading[part] for reading in readings) for part in ("main", "workers")]
                whole = [sum(reading.values()) for reading in readings]
                figures = " | ".join(f"{mb:.1f}" for mb in (*parts, median(whole), max(whole)))
                print(f"| {workers} | {int(rows):,} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
