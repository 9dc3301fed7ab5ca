"""Makes the example from its seed: statements, graph, embeddings, a model that has learned the task, and its figures.

    python datasets/example/prepare.py [--output DIR]

The graph is made up, the sentences come from templates, and the model is small: the example shows the flow, not how
good the method is. Random numbers are drawn as raw uniform ones and the training runs in float64, so that another
machine or number of threads gives the same statements and store, and the same figures to the third digit.
"""

import argparse
import json
import logging
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from world import (
    HERE,
    LABELS,
    WALK,
    WIDTH,
    Families,
    Floats,
    Row,
    Writer,
    draw_rows,
    graph_rows,
    read_families,
    write_rows,
)

from stonkgs import Batch, Batches, KgeStore, Predictor, STonKGs, TsvSource
from stonkgs.encode.text import TextEncoder
from stonkgs.kge.build import build
from stonkgs.model.config import ModelConfig

SEED = 20
#: The number of tokens of a sentence.
TEXT = 64
#: Epochs, rows of a batch, and learning rate.
EPOCHS, SIZE, RATE = 6, 32, 2e-3
#: The table of figures in README.md.
TABLE = re.compile(r"\| read (?:.+\n)+")
#: The share of training rows without their sentence, and the share of those without their nodes.
BLANKED = 0.08


def write_store(path: Path, families: Families) -> KgeStore:
    """Write the graph's store with the project's own builder."""
    vectors, walks = graph_rows(families, random.Random(SEED))
    with tempfile.TemporaryDirectory() as folder:
        for file, rows in (("vectors.tsv", vectors), ("walks.tsv", walks)):
            Path(folder, file).write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
        build(vectors=f"{folder}/vectors.tsv", walks=f"{folder}/walks.tsv", output=str(path), overwrite=True)
    return KgeStore(path=path)


# The model.


def write_vocabulary(path: Path, sentences: Sequence[str], symbols: set[str]) -> int:
    """Write special tokens and the words that occur three times or more. Returns the number of entries.

    It contains no gene symbol and no parts of one, so that the model reads each symbol as [UNK].
    """
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "utf-8")
    tokenizer = TextEncoder(path=str(path)).tokenizer
    split, normal = tokenizer.pre_tokenizer, tokenizer.normalizer
    words = Counter(word for text in sentences for word, _ in split.pre_tokenize_str(normal.normalize_str(text)))
    entries = sorted(word for word, count in words.items() if count >= 3 and word not in symbols)
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(f"{entry}\n" for entry in entries)
    return 5 + len(entries)


def fresh_model(vocabulary: Path, entries: int) -> STonKGs:
    """Make a small model in float64. Its weights are raw uniform numbers, which are the same on every machine."""
    sizes: dict[str, Any] = {
        "hidden_size": WIDTH,
        "num_attention_heads": 4,
        "intermediate_size": 2 * WIDTH,
        "vocab_size": entries,
    }
    sizes |= {"max_position_embeddings": TEXT + 2 * WALK + 2, "type_vocab_size": 2, "num_hidden_layers": 2}
    sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = ModelConfig(
        lm_backbone=sizes, bert=sizes, labels=LABELS, text_length=TEXT, walk_length=WALK, special_tokens=(1, 3, 4)
    )
    network = STonKGs(config, TextEncoder(path=str(vocabulary), length=TEXT)).double()
    draw = np.random.default_rng(SEED)
    for name, weight in network.named_parameters():
        if weight.dim() == 2:
            spread = 0.2 if "embeddings" in name else (3 / weight.shape[1]) ** 0.5
            weight.data = torch.from_numpy(spread * (2 * draw.random(tuple(weight.shape)) - 1))
        elif name.endswith("bias"):
            weight.data.zero_()
    return network


class ExampleTraining(pl.LightningModule):
    """Plain fine-tuning over the project's own batches, whose columns include the label."""

    def __init__(self, predictor: Predictor, steps: int) -> None:
        super().__init__()
        self.predictor, self.network, self.steps = predictor, predictor.model, steps

    def training_step(self, batch: Batch, number: int) -> Tensor:
        """Return the cross-entropy of a batch."""
        self.predictor.model.refresh()  # computes the special tokens' vectors from the backbone, which has changed
        logits = self.network(self.predictor.inputs(batch))
        labels = torch.tensor([LABELS.index(label) for label in batch.columns["label"].to_pylist()])
        return cross_entropy(logits, labels)

    def configure_optimizers(self) -> Any:
        """Make AdamW with a warm-up of 100 steps and a linear decay to 0."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=RATE, weight_decay=0.01)
        rate = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / 100, max(0.0, 1 - step / self.steps))
        )
        return [optimizer], [{"scheduler": rate, "interval": "step"}]

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Return the batch as it is: the predictor moves what the network needs."""
        return batch


def shuffled(rows: Sequence[Row], draw: random.Random) -> Iterator[Row]:
    """Yield the rows of all epochs in one stream, some without their sentence, some without their nodes.

    So the model learns a best guess for an empty field, instead of giving an accidental value for an unseen input.
    """
    for _ in range(EPOCHS):
        for row in sorted(rows, key=lambda _: draw.random()):
            chance = draw.random()
            if chance < BLANKED:
                yield replace(row, evidence="")
            elif chance < 2 * BLANKED:
                yield replace(row, source="", target="")
            else:
                yield row


def batches(path: Path, predictor: Predictor, window: int) -> Batches:
    """Return the file's batches, in one split."""
    source = TsvSource(path=str(path))
    reader = source.reader(source.plan(rows=1 << 30))
    return Batches(source=reader, encoder=predictor.encoder(), size=SIZE, window=window)


def train(rows: Sequence[Row], symbols: set[str], store: KgeStore, folder: Path) -> None:
    """Train a fresh model and save it, in float32."""
    with tempfile.TemporaryDirectory() as temporary:
        vocabulary = Path(temporary, "vocab.txt")
        entries = write_vocabulary(vocabulary, [row.evidence for row in rows], symbols)
        predictor = Predictor(fresh_model(vocabulary, entries), store)
        stream = write_rows(Path(temporary, "stream.tsv"), shuffled(rows, random.Random(SEED)))
        data = DataLoader(batches(stream, predictor, window=8 * SIZE), batch_size=None)
        trainer = pl.Trainer(barebones=True, accelerator="cpu", max_epochs=1)
        trainer.fit(ExampleTraining(predictor, steps=EPOCHS * len(rows) // SIZE), data)
        predictor.model.float().save_pretrained(folder, kge=store)


# The figures.


def probabilities(rows: Sequence[Row], predictor: Predictor) -> Floats:
    """Return the probability of `correct` for each row, in the rows' order."""
    result = np.zeros(len(rows))
    with tempfile.TemporaryDirectory() as folder:
        for batch in batches(write_rows(Path(folder, "rows.tsv"), rows), predictor, window=len(rows)):
            result[batch.positions] = predictor(batch)[:, 1].numpy()
    return result


def figures(given: Floats, truth: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return accuracy, mean F1 of the two classes, and Brier score of the probabilities of `correct`."""
    predicted = given > 0.5
    scores = [2 * (predicted & truth).sum() / max(1, predicted.sum() + truth.sum())]
    scores += [2 * (~predicted & ~truth).sum() / max(1, (~predicted).sum() + (~truth).sum())]
    brier = ((given - truth) ** 2).mean()
    values = {"accuracy": (predicted == truth).mean(), "macro_f1": np.mean(scores), "brier": brier}
    return {name: round(float(value), 4) for name, value in values.items()}


def evaluate(rows: Sequence[Row], predictor: Predictor) -> dict[str, dict[str, float]]:
    """Return the figures of the test rows: with all fields, without nodes, without sentence, and without a model."""
    test = [row for row in rows if row.part == "test"]
    truth = np.array([row.label == "correct" for row in test])
    share = np.mean([row.label == "correct" for row in rows if row.part == "train"])
    inputs = {
        "text and graph": test,
        "text alone": [replace(row, source="", target="") for row in test],
        "graph alone": [replace(row, evidence="") for row in test],
    }
    result = {name: figures(probabilities(part, predictor), truth) for name, part in inputs.items()}
    return result | {"neither": figures(np.full(len(test), share), truth)}


def table(metrics: dict[str, dict[str, float]]) -> str:
    """Return the figures as README.md's table."""
    names = list(metrics["neither"])
    rows = [["read", *names], ["---"] * (1 + len(names))]
    rows += [[kind, *(f"{values[name]:.3f}" for name in names)] for kind, values in metrics.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def draw(output: Path) -> tuple[list[Row], KgeStore, set[str]]:
    """Write the statements and the graph's store. Returns both, and the genes' symbols."""
    text = OmegaConf.to_container(OmegaConf.load(HERE / "text.yaml"))
    families = read_families(text)
    rows = list(draw_rows(Writer(text, families, random.Random(SEED))))
    write_rows(output / "statements.tsv", rows)
    symbols = {node.mention.lower() for _, *genes in families.values() for node in genes}
    return rows, write_store(output / "kge.h5", families), symbols


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=HERE, metavar="DIR", help="default: the example's own folder")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # for so small a model more threads mostly wait for each other
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    rows, store, symbols = draw(output)
    train([row for row in rows if row.part == "train"], symbols, store, output / "model")
    metrics = evaluate(rows, Predictor(STonKGs.from_pretrained(str(output / "model")), store))
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    if (readme := output / "README.md").exists():
        readme.write_text(TABLE.sub(table(metrics), readme.read_text("utf-8")), "utf-8")
    print(table(metrics))


if __name__ == "__main__":
    main()
