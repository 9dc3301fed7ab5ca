"""Makes the example from its seed, by the road that anybody takes from a graph of their own to a model of their own.

    python datasets/example/prepare.py [--output DIR]

The graph is made up, the sentences come from templates, and the model is small: the example shows the flow, not how
good the method is. What is drawn here are triples and statements; all else is made of them by the public commands:

    triples -> store          stonkgs kge train
    store, texts -> backbone  stonkgs train experiment=pretrain
    labelled rows -> model    stonkgs train task=...

Random numbers are drawn as raw uniform ones and the trainings run in float64, so that another machine or number of
threads gives the same statements and store, and the same figures to the third digit.
"""

import argparse
import json
import random
import re
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from omegaconf import OmegaConf
from world import (
    HERE,
    LABELS,
    Families,
    Floats,
    Row,
    Writer,
    draw_rows,
    read_families,
    triples,
    write_rows,
    write_table,
)

from stonkgs import Predictor
from stonkgs.cli import main as stonkgs
from stonkgs.encode.text import TextEncoder

SEED = 20
#: The table of figures in README.md.
TABLE = re.compile(r"\| read (?:.+\n)+")
#: The share of training rows that are repeated without their sentence, and the share of those without their nodes.
BLANKED = 0.25

#: Vectors of 64 numbers, and of each node four walks of four nodes: short ones stay near it.
STORE = "method=netmf method.dimension=64 method.window=4 method.walk_length=16 method.walks_per_node=4"
#: A small model: two layers each, 64 tokens of text.
MODEL = "model.backbone=fresh model.text_length=64 model.dropout=0"
#: What both trainings are told. Few threads: over so small a model more mostly wait for each other.
TRAINING = f"protocol.test=0.05 seed={SEED} threads=1 trainer.precision=64-true logger=none"
PRETRAINING = f"experiment=pretrain {MODEL} without=rows {TRAINING} optimizer.lr=2e-3"
FINE_TUNING = (
    "task=discover task.name=label 'task.classes=[incorrect,correct]' freeze_backbone=false patience=null "
    f"{TRAINING} optimizer.lr=1e-3"
)
#: Epochs of the two trainings.
EPOCHS = (2, 4)


def run(command: str, **paths: Path) -> None:
    """Show and run a command of stonkgs. `paths` are further keys of it: `source_path` is source.path."""
    given = [*shlex.split(command), *(f"{key.replace('__', '.')}={path}" for key, path in paths.items())]
    print(f"+ stonkgs {shlex.join(given)}", flush=True)
    if stonkgs(given):
        raise SystemExit(1)


# What is drawn.


def draw(output: Path) -> tuple[list[Row], set[str]]:
    """Write the graph's triples and the statements. Returns the statements, and the genes' symbols in lower case."""
    text = OmegaConf.to_container(OmegaConf.load(HERE / "text.yaml"))
    families: Families = read_families(text)
    write_table(output / "triples.tsv", triples(families, random.Random(SEED)))
    rows = list(draw_rows(Writer(text, families, random.Random(SEED))))
    write_rows(output / "statements.tsv", rows)
    return rows, {node.mention.lower() for _, *genes in families.values() for node in genes}


def write_vocabulary(path: Path, sentences: Sequence[str], symbols: set[str]) -> None:
    """Write special tokens and the words that occur three times or more.

    The vocabulary contains no gene symbol and no parts of one, so that the model reads each symbol as [UNK].
    """
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "utf-8")
    tokenizer = TextEncoder(path=str(path)).tokenizer
    split, normal = tokenizer.pre_tokenizer, tokenizer.normalizer
    words = Counter(word for text in sentences for word, _ in split.pre_tokenize_str(normal.normalize_str(text)))
    entries = sorted(word for word, count in words.items() if count >= 3 and word not in symbols)
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(f"{entry}\n" for entry in entries)


def with_blanks(rows: Sequence[Row], draw: random.Random) -> Iterator[Row]:
    """Yield the rows, and some of them again without their sentence, or without their nodes.

    So the model learns a best guess for an empty field, instead of giving an accidental value for an unseen input.
    """
    for row in rows:
        yield row
        chance = draw.random()
        if chance < BLANKED:
            yield replace(row, evidence="")
        elif chance < 2 * BLANKED:
            yield replace(row, source="", target="")


# What is made of it.


def make(rows: Sequence[Row], symbols: set[str], output: Path, epochs: tuple[int, int] = EPOCHS) -> None:
    """Make store and model with the public commands, from triples.tsv in `output` and the rows to train with."""
    store = output / "kge.h5"
    run(f"kge train {STORE} --overwrite --triples {shlex.quote(str(output / 'triples.tsv'))} --output {store}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vocabulary = folder / "vocab.txt"
        write_vocabulary(vocabulary, [row.evidence for row in rows], symbols)
        read = write_rows(folder / "read.tsv", rows)
        labelled = write_rows(folder / "labelled.tsv", with_blanks(rows, random.Random(SEED)))
        run(
            f"train {PRETRAINING} epochs={epochs[0]}",
            source__path=read, without__source__path=labelled, kge__path=store, model__vocabulary=vocabulary,
            output_dir=folder / "pretrained",
        )  # fmt: skip
        run(
            f"train {FINE_TUNING} epochs={epochs[1]}",
            source__path=labelled, kge__path=store, model__path=folder / "pretrained" / "model",
            output_dir=folder / "tuned",
        )  # fmt: skip
        shutil.rmtree(output / "model", ignore_errors=True)
        # Not the model card: the example's README.md says more of the model.
        shutil.copytree(folder / "tuned" / "model", output / "model", ignore=shutil.ignore_patterns("README.md"))


# The figures.


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
    truth = np.array([row.label == LABELS[1] for row in test])
    share = np.mean([row.label == LABELS[1] for row in rows if row.part == "train"])
    inputs = {
        "text and graph": test,
        "text alone": [replace(row, source="", target="") for row in test],
        "graph alone": [replace(row, evidence="") for row in test],
    }
    result = {}
    for name, part in inputs.items():
        found = predictor.predict([(row.source, row.target, row.evidence) for row in part])
        result[name] = figures(np.array([one.probabilities[LABELS[1]] for one in found]), truth)
    return result | {"neither": figures(np.full(len(test), share), truth)}


def table(metrics: dict[str, dict[str, float]]) -> str:
    """Return the figures as README.md's table."""
    names = list(metrics["neither"])
    rows = [["read", *names], ["---"] * (1 + len(names))]
    rows += [[kind, *(f"{values[name]:.3f}" for name in names)] for kind, values in metrics.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=HERE, metavar="DIR", help="default: the example's own folder")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows, symbols = draw(output)
    make([row for row in rows if row.part == "train"], symbols, output)
    metrics = evaluate(rows, Predictor(output / "model", output / "kge.h5"))
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    if (readme := output / "README.md").exists():
        readme.write_text(TABLE.sub(table(metrics), readme.read_text("utf-8")), "utf-8")
    print(table(metrics))


if __name__ == "__main__":
    main()
