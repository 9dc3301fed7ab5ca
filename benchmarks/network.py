"""What each exact saving of the network gains, at BERT-base size: rows/s in paired rounds on one batch of statements.

python benchmarks/network.py --rows 16 --rounds 5

All variants give the same probabilities (printed: the largest difference). 'share' rows stand behind each sentence.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
from synthetic import write_model, write_statements, write_store
from torch import Tensor
from torch.nn import functional

from stonkgs import Batches, KgeStore, Predictor, STonKGs, TsvSource
from stonkgs.model import bert, network
from stonkgs.model.network import Inputs, Network

NODES = 5_000


def every_position(modules: object, hidden: Tensor, mask: Tensor | None, keep: int) -> Tensor:
    """`bert.encode` with a last layer for all positions."""
    return bert.encode(modules, hidden, mask, keep=hidden.shape[1])[:, :keep]


def with_padding(inputs: Inputs, length: int) -> Inputs:
    """Every text padded to the full length, as the first implementation has them."""
    tokens = inputs["text"]["tokens"]
    padded = functional.pad(tokens, (0, length - tokens.shape[1]))
    return {**inputs, "text": {**inputs["text"], "tokens": padded}}


def without_sharing(inputs: Inputs) -> Inputs:
    """Every row with a text of its own."""
    text = inputs["text"]
    each = {name: text[name][text["index"]] for name in ("tokens", "lengths")}
    return {**inputs, "text": {**each, "index": torch.arange(len(text["index"]))}}


def prepare(folder: Path, rows: int, share: int) -> tuple[Network, Inputs]:
    """A model as published ones are, and one batch of statements."""
    write_store(folder / "kge.h5", nodes=NODES, dimension=768, walk_length=127)
    write_model(folder / "model", hidden=768, layers=12, text_length=256, walk_length=127, legacy=True)
    header, *lines = write_statements(folder / "few.tsv", rows=rows // share, nodes=NODES).read_text().splitlines()
    (folder / "rows.tsv").write_text("\n".join([header, *lines * share]))
    predictor = Predictor(STonKGs.from_pretrained(str(folder / "model")), KgeStore(path=str(folder / "kge.h5")))
    source = TsvSource(path=str(folder / "rows.tsv"))
    reader = source.reader(source.plan(rows=rows * 2))
    (batch,) = Batches(source=reader, encoder=predictor.encoder(), size=rows, window=rows)
    return predictor.model, predictor.inputs(batch)


def main() -> None:
    """Make a model, a store and statements in a temporary folder, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        model, inputs = prepare(Path(folder), arguments.rows, arguments.share)
        full = without_sharing(with_padding(inputs, model.config.text_length))

        def slow(given: Inputs) -> Tensor:
            with patch.object(network, "encode", every_position):
                logits: Tensor = model(given)
            return logits.softmax(-1)

        variants: dict[str, Callable[[], Tensor]] = {
            "everything": lambda: slow(full),
            "no padding columns": lambda: slow(without_sharing(inputs)),
            "and last layers for what is asked": lambda: model(without_sharing(inputs)).softmax(-1),
            "and equal texts once": lambda: model(inputs).softmax(-1),
        }
        measure(variants, arguments.rows, arguments.rounds)
        text = inputs["text"]
        print(f"texts of {text['lengths'].float().mean():.0f} tokens on average, {text['tokens'].shape[1]} at most")


def measure(variants: dict[str, Callable[[], Tensor]], rows: int, rounds: int) -> None:
    """Print a table: each round runs all variants in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    results = {name: run() for name, run in variants.items()}
    for _ in range(rounds):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    first = next(iter(variants))
    print("| variant | rows/s | of the first | largest difference |\n|---|---|---|---|")
    for name, taken in seconds.items():
        ratio = median(base / own for base, own in zip(seconds[first], taken, strict=True))
        difference = float((results[name] - results[first]).abs().max())
        print(f"| {name} | {rows / median(taken):.2f} | {ratio:.2f} | {difference:.0e} |")


if __name__ == "__main__":
    main()
