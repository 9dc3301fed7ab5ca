"""Rows/s of training steps, and what each choice gains: paired rounds in one process, medians and ratios.

python benchmarks/training.py small    64 wide, 2 layers: steps of similar lengths, dropout of attention
python benchmarks/training.py base     BERT-base: what keeping the frozen backbone's hidden states could gain at most
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from memory import label
from synthetic import write_model, write_statements, write_store

import stonkgs.cli  # noqa: F401  # sets what torch reads when it is imported

import torch  # isort: skip

from stonkgs import Predictor, TsvSource
from stonkgs.model import network
from stonkgs.protocol import Grouped
from stonkgs.train import stream
from stonkgs.train.census import census
from stonkgs.train.module import FineTuning
from stonkgs.train.schedule import Schedule
from stonkgs.train.stream import Step, Stream
from stonkgs.train.task import Task

NODES = 2_000


class Bench:
    """A model, and steps of it."""

    def __init__(self, folder: Path, *, rows: int, size: int, words: int, **sizes: Any) -> None:
        write_store(folder / "kge.h5", nodes=NODES, dimension=sizes["hidden"], walk_length=sizes["walk_length"])
        model = write_model(folder / "model", **sizes)
        write_statements(folder / "rows.tsv", rows=rows, nodes=NODES, words=words)
        label(folder / "rows.tsv")
        reader = TsvSource(path=str(folder / "rows.tsv")).reader()
        task, protocol = Task(name="polarity"), Grouped()
        with open(folder / "rejected.jsonl", "wb") as rejected:
            counted = census(reader, task, protocol, rejected)
        self.selection = counted.selection(reader, task, protocol)
        counts = np.array(list(counted.parts["train"].values()))
        self.schedule = Schedule(counts=counts, epochs=1, size=size)
        predictor = Predictor(network.Network.from_pretrained(model), str(folder / "kge.h5"))
        options: dict[str, Any] = {"warmup": 0.0, "weights": None, "threads": None, "log_every": 1 << 30}
        adamw = partial(torch.optim.AdamW, lr=1e-4)
        self.module = FineTuning(predictor, self.schedule, optimizer=adamw, freeze_backbone=True, **options)
        self.optimizer = adamw([weight for weight in self.module.network.parameters() if weight.requires_grad])
        self.module.train()

    def steps(self, count: int) -> list[Step]:
        """The first of an epoch."""
        options: dict[str, Any] = {"weights": None, "buffer": 65_536, "epoch": 0, "start": 0, "rank": 0}
        encoder = self.module.predictor.encoder()
        return list(Stream(selection=self.selection, encoder=encoder, schedule=self.schedule, stop=count, **options))

    def rate(self, steps: Sequence[Step]) -> float:
        """Rows/s over these steps, forward, backward and the optimizer's."""
        start = time.perf_counter()
        for step in steps:
            self.module.step_loss(step).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.optimizer.zero_grad()
        return sum(len(step.batch) for step in steps) / (time.perf_counter() - start)


@contextmanager
def pools(size: int) -> Iterator[None]:
    """Steps whose rows are sorted together."""
    before, stream.POOL = stream.POOL, size
    yield
    stream.POOL = before


@contextmanager
def attention_dropout(bench: Bench, share: float) -> Iterator[None]:
    """In the joint BERT."""
    parts = [
        part
        for name, part in bench.module.network.get_submodule("bert").named_modules()
        if name.endswith("self.dropout")
    ]
    for part in parts:
        part.p = share
    yield
    for part in parts:
        part.p = 0.0


@contextmanager
def hidden_states_at_hand() -> Iterator[None]:
    """The backbone's hidden states cost nothing: not even reading them from a disk."""

    def kept(backbone: Any, tokens: torch.Tensor, lengths: torch.Tensor, **options: Any) -> torch.Tensor:
        length = options.get("padded_to") or tokens.shape[1]
        return torch.zeros(len(tokens), length, backbone.config.hidden_size)

    with patch.object(network, "read_text", kept):
        yield


def compare(names: Sequence[str], measure: Sequence[Callable[[], float]], rounds: int) -> None:
    """Print each one's median, and the median of its ratio to the first in the same round."""
    found = [[one() for one in measure] for _ in range(rounds + 1)][1:]
    for number, name in enumerate(names):
        rates = [row[number] for row in found]
        ratio = statistics.median(row[number] / row[0] for row in found)
        print(f"| {name} | {statistics.median(rates):,.1f} | {ratio:.2f} |", flush=True)


def small(folder: Path, rounds: int) -> None:
    """A model that two cores train in minutes."""
    sizes = {"hidden": 64, "layers": 2, "text_length": 128, "walk_length": 16}
    dropout = {"attention_probs_dropout_prob": 0.0}
    bench = Bench(folder, rows=3_000, size=32, words=25, **sizes, **dropout)
    with pools(1):
        mixed = bench.steps(32)
    sorted_steps = bench.steps(32)

    def dropped() -> float:
        with attention_dropout(bench, 0.1):
            return bench.rate(sorted_steps)

    names = ["steps of any lengths", "steps of similar lengths", "the same, attention dropped"]
    compare(names, [lambda: bench.rate(mixed), lambda: bench.rate(sorted_steps), dropped], rounds)


def base(folder: Path, rounds: int) -> None:
    """BERT-base and the published walk length; texts of some 50 tokens."""
    for legacy in (False, True):
        sizes = {"hidden": 768, "layers": 12, "text_length": 256, "walk_length": 127, "legacy": legacy}
        within = folder / str(legacy)
        within.mkdir()
        bench = Bench(within, rows=200, size=4, words=15, **sizes)
        steps = bench.steps(1)

        def at_hand(bench: Bench = bench, steps: list[Step] = steps) -> float:
            with hidden_states_at_hand():
                return bench.rate(steps)

        kind = "padding is read" if legacy else "ours"
        compare([f"{kind}: whole", f"{kind}: backbone free"], [partial(bench.rate, steps), at_hand], rounds)


def main() -> None:
    """The benchmark that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "base"])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print("| steps | rows/s | of the first |\n|---|---|---|")
        (small if arguments.what == "small" else base)(Path(name), arguments.rounds)


if __name__ == "__main__":
    main()
