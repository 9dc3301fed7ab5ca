"""The example of `datasets/example`: its files are sound, and its figures are those of its model."""

import csv
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import ROOT

from stonkgs import Batches, KgeStore, Predictor, STonKGs, TsvSource

EXAMPLE = ROOT / "datasets" / "example"
#: File -> kB at most.
FILES = {
    "README.md": 10,
    "genes.tsv": 20,
    "text.yaml": 20,
    "kge.h5": 3_000,
    "triples.tsv": 200,
    "statements.tsv": 2_000,
}
#: Training rows and epochs of both trainings, where the road is only to be gone to its end.
FEW, ONCE = 150, (1, 1)
Metrics = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Shipped:
    """What lies in the folder, read once."""

    rows: list[dict[str, str]]
    predictor: Predictor
    metrics: Metrics

    def part(self, name: str) -> list[dict[str, str]]:
        """The rows of one part."""
        return [row for row in self.rows if row["part"] == name]


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More only wait for each other over so small a model, on a busy machine ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    model = STonKGs.from_pretrained(str(EXAMPLE / "model"))
    predictor = Predictor(model, KgeStore(path=EXAMPLE / "kge.h5"))
    return Shipped(read_rows(EXAMPLE / "statements.tsv"), predictor, json.loads((EXAMPLE / "metrics.json").read_text()))


def probabilities(
    rows: Sequence[dict[str, str]],
    predictor: Predictor,
    folder: Path,
    *,
    size: int = 32,
    blank: dict[str, str] | None = None,
) -> npt.NDArray[np.float64]:
    """Of `correct`, in the order of the rows, with some of their columns overwritten."""
    with open(folder / "rows.tsv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | (blank or {}) for row in rows)
    source = TsvSource(path=str(folder / "rows.tsv"))
    reader = source.reader(source.plan(rows=1 << 30))
    given = np.full(len(rows), np.nan)
    for batch in Batches(source=reader, encoder=predictor.encoder(), size=size, window=1024):
        given[batch.positions] = predictor(batch)[:, 1].numpy()
    return given


def truth(rows: Sequence[dict[str, str]]) -> npt.NDArray[np.bool_]:
    return np.array([row["label"] == "correct" for row in rows])


def scores(given: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> dict[str, float]:
    """The figures, by their definitions."""
    said = given > 0.5
    f1 = []
    for kind in (True, False):
        hits = ((said == kind) & (right == kind)).sum()
        precision, recall = hits / max(1, (said == kind).sum()), hits / (right == kind).sum()
        f1.append(2 * precision * recall / max(1e-9, precision + recall))
    return {
        "accuracy": float((said == right).mean()),
        "macro_f1": sum(f1) / 2,
        "brier": float(((given - right) ** 2).mean()),
    }


def test_files_are_small() -> None:
    for name, limit in FILES.items():
        assert (EXAMPLE / name).stat().st_size < 1000 * limit, name
    assert sum(file.stat().st_size for file in (EXAMPLE / "model").iterdir()) < 8_000_000
    assert not list(EXAMPLE.rglob("__init__.py"))


def test_genes_are_named_once() -> None:
    genes = read_rows(EXAMPLE / "genes.tsv")
    assert 200 <= len(genes) <= 400
    assert len({gene["hgnc"] for gene in genes}) == len({gene["symbol"] for gene in genes}) == len(genes)
    assert set(Counter(gene["family"] for gene in genes).values()) == {24}


def test_both_parts_have_both_labels(shipped: Shipped) -> None:
    assert Counter(row["part"] for row in shipped.rows) == {"train": 3000, "test": 1000}
    for part in ("train", "test"):
        assert 0.4 < truth(shipped.part(part)).mean() < 0.6


def test_nothing_leaks_between_the_parts(shipped: Shipped) -> None:
    """No gene and no sentence is in both, nor a gene's symbol in a sentence of the other part."""
    genes, sentences = {}, {}
    for part in ("train", "test"):
        rows = shipped.part(part)
        genes[part] = {row[role] for row in rows for role in ("source", "target") if row[role].startswith("p(")}
        sentences[part] = [row["evidence"] for row in rows if row["evidence"]]
    assert not genes["train"] & genes["test"]
    assert len(set(sentences["train"] + sentences["test"])) == len(sentences["train"] + sentences["test"])
    for part, other in (("train", "test"), ("test", "train")):
        symbols = {name.split(" ! ")[1][:-1] for name in genes[other]}
        assert not symbols & {word for text in sentences[part] for word in re.findall(r"\w+", text)}


def test_symbols_are_unknown_words(shipped: Shipped) -> None:
    """A sentence cannot tell by its genes which nodes are wrong."""
    vocabulary = shipped.predictor.model.text.tokenizer.get_vocab()
    assert not [entry for entry in vocabulary if entry.startswith("##")]
    assert not vocabulary.keys() & {gene["symbol"].lower() for gene in read_rows(EXAMPLE / "genes.tsv")}
    assert 300 < len(vocabulary) < 1500


def test_the_store_is_the_models(shipped: Shipped) -> None:
    store, config = shipped.predictor.kge, shipped.predictor.model.config
    assert (config.kge_digest, config.kge_nodes) == (store.digest, store.nodes)
    assert store.walk_length == config.walk_length == 16
    assert all((store.walk(node)[::4] == node).all() for node in range(store.nodes))  # four walks, each from its node


def test_rows_show_every_flag(shipped: Shipped) -> None:
    """Both parts have unknown nodes, missing sentences, sentences that are cut, quotes and Greek letters."""
    store, text = shipped.predictor.kge, shipped.predictor.model.text
    for part in ("train", "test"):
        rows = shipped.part(part)
        assert any(store.number(row["source"]) < 0 for row in rows)
        assert any(store.number(row["target"]) < 0 for row in rows)
        assert any(cut for _, cut in text([row["evidence"] for row in rows]))
        for share, quirk in ((0.01, ""), (0.5, '"'), (0.5, "β")):
            found = [row for row in rows if (quirk in row["evidence"] if quirk else not row["evidence"])]
            assert 0 < len(found) < share * len(rows), quirk


def test_figures_are_the_models(shipped: Shipped, tmp_path: Path) -> None:
    """The shipped files give metrics.json to the third digit, and either half alone is clearly worse."""
    rows = shipped.part("test")
    blanks: dict[str, dict[str, str]] = {
        "text and graph": {},
        "text alone": {"source": "", "target": ""},
        "graph alone": {"evidence": ""},
    }
    for kind, blank in blanks.items():
        given = probabilities(rows, shipped.predictor, tmp_path, blank=blank)
        assert scores(given, truth(rows)) == pytest.approx(shipped.metrics[kind], abs=5e-4), kind
    share = np.full(len(rows), truth(shipped.part("train")).mean())
    assert scores(share, truth(rows)) == pytest.approx(shipped.metrics["neither"], abs=5e-4)
    accuracy = {kind: values["accuracy"] for kind, values in shipped.metrics.items()}
    assert accuracy["text and graph"] > 0.97
    for half in ("text alone", "graph alone"):
        assert accuracy["neither"] + 0.1 < accuracy[half] < 0.82


def test_readme_has_the_figures(shipped: Shipped) -> None:
    cells = [line.strip("| \n").split(" | ") for line in (EXAMPLE / "README.md").read_text("utf-8").splitlines()]
    names = next(row for row in cells if row[0] == "read")[1:]
    table = {row[0]: dict(zip(names, map(float, row[1:]), strict=True)) for row in cells if row[0] in shipped.metrics}
    assert table.keys() == shipped.metrics.keys()
    for kind, values in table.items():
        assert values == pytest.approx(shipped.metrics[kind], abs=5.1e-4), kind


def test_batches_do_not_matter(shipped: Shipped, tmp_path: Path) -> None:
    rows = shipped.part("test")[:200]
    alone, many = (probabilities(rows, shipped.predictor, tmp_path, size=size) for size in (1, 200))
    assert alone == pytest.approx(many, abs=1e-5)


#: All of `prepare.py`, with few rows and epochs.
SMALL = f"""
import sys
from pathlib import Path
from prepare import draw, make

output = Path(sys.argv[1])
rows, symbols = draw(output)
make([row for row in rows if row.part == "train"][:{FEW}], symbols, output, {ONCE})
"""


def prepare(arguments: list[str], folder: Path) -> str:
    """In a process in which sets have another order. Returns what it prints."""
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(EXAMPLE)}
    done = subprocess.run(
        [sys.executable, *arguments], check=True, cwd=folder, env=environment, timeout=1200, stdout=subprocess.PIPE
    )
    return done.stdout.decode()


def check_drawn(folder: Path, shipped: Shipped) -> None:
    for name in ("statements.tsv", "triples.tsv"):
        assert (folder / name).read_bytes() == (EXAMPLE / name).read_bytes()
    assert KgeStore(path=folder / "kge.h5").digest == shipped.predictor.kge.digest


@pytest.mark.process
def test_prepare_goes_the_road_by_public_commands(shipped: Shipped, tmp_path: Path) -> None:
    """Statements and store come out equal; the model has few rows to learn from here, and is one all the same."""
    printed = prepare(["-c", SMALL, str(tmp_path)], tmp_path)
    check_drawn(tmp_path, shipped)
    assert [line.split()[2:4] for line in printed.splitlines() if line.startswith("+ stonkgs ")] == [
        ["kge", "train"],
        ["train", "experiment=pretrain"],
        ["train", "task=discover"],
    ]
    model = STonKGs.from_pretrained(tmp_path / "model")
    assert model.config.labels == shipped.predictor.labels
    assert model.config.kge_digest == shipped.predictor.kge.digest


@pytest.mark.deep
@pytest.mark.process
def test_prepare_makes_the_same_again(shipped: Shipped, tmp_path: Path) -> None:
    prepare([str(EXAMPLE / "prepare.py"), "--output", str(tmp_path)], tmp_path)
    check_drawn(tmp_path, shipped)
    assert STonKGs.from_pretrained(tmp_path / "model").text.tokenizer.get_vocab() == (
        shipped.predictor.model.text.tokenizer.get_vocab()
    )
    metrics: Metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics.keys() == shipped.metrics.keys()
    for kind, values in metrics.items():
        assert values == pytest.approx(shipped.metrics[kind], abs=5e-4), kind
