"""Small checkpoints in the published format, on a site of this machine."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
import torch
from conftest import LABELS, NODES, WALK_LENGTH
from published.server import Site, serving
from synthetic import as_published, write_model

from stonkgs.model.network import Network
from stonkgs.published.catalog import BACKBONE, ENTRIES, GRAPH, MODELS, VECTORS, WALKS

#: A checkpoint's files, by their names.
Files = Mapping[str, bytes]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """As published, of two classes: 16 wide, with a vocabulary of the published size."""
    return _published(tmp_path_factory.mktemp("tuned"), LABELS)


@pytest.fixture(scope="session")
def shelves(tmp_path_factory: pytest.TempPathFactory, kge_path: Path, checkpoint: Files) -> dict[str, Files]:
    """All that the site has, by record and repository: species, correct_binary, stonkgs-150k, the graph, BioBERT."""
    species = _published(tmp_path_factory.mktemp("species"), MODELS["species"].labels or ())
    pretrained = _published(tmp_path_factory.mktemp("pretrained"), ())
    graph = {VECTORS: kge_path.parent / "vectors.tsv", WALKS: kge_path.parent / "walks.tsv"}
    return {
        MODELS["species"].deposit.name: _checkpoint(species),
        MODELS["correct_binary"].deposit.name: _checkpoint(checkpoint),
        MODELS["stonkgs-150k"].deposit.name: _checkpoint(pretrained),
        GRAPH.name: {name: path.read_bytes() for name, path in graph.items()},
        BACKBONE.name: {"vocab.txt": species["vocab.txt"], **backbone(species)},
    }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that published models are kept in: not there yet."""
    monkeypatch.setenv("STONKGS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def site(cache: Path, shelves: Mapping[str, Files], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site with all of it, which is where published files are looked for."""
    with serving() as started:
        started.records = {name: dict(files) for name, files in shelves.items() if "/" not in name}
        started.repositories = {name: dict(files) for name, files in shelves.items() if "/" in name}
        monkeypatch.setenv("STONKGS_ZENODO", started.address)
        monkeypatch.setenv("HF_ENDPOINT", started.address)
        monkeypatch.setenv("HF_TOKEN", "hf_nobodys_business")
        yield started


def _published(folder: Path, labels: tuple[str, ...]) -> Files:
    """The files of a checkpoint with these classes, and of its vocabulary."""
    unused = [f"[unused{number}]" for number in range(ENTRIES - len(synthetic.VOCABULARY))]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(synthetic, "VOCABULARY", [*synthetic.VOCABULARY, *unused])
        ours = write_model(
            folder / "ours", hidden=16, layers=2, text_length=12, walk_length=WALK_LENGTH, max_position_embeddings=24
        )
        network = Network.from_pretrained(ours)
        if labels:
            torch.manual_seed(1)
            torch.nn.init.normal_(network.with_classes(labels).classifier.weight)
        else:
            network.config = replace(network.config, labels=())
            del network.classifier
        network.save_pretrained(ours)
        as_published(ours, folder / "published", nodes=len(NODES))
    files = [*(folder / "published").iterdir(), folder / "vocabulary" / "vocab.txt"]
    return {path.name: path.read_bytes() for path in files}


def _checkpoint(files: Files) -> Files:
    return {name: files[name] for name in ("config.json", "pytorch_model.bin")}


def backbone(files: Files) -> Files:
    """The text backbone of a checkpoint as a checkpoint of its own, a BERT of transformers."""
    weights = torch.load(io.BytesIO(files["pytorch_model.bin"]), weights_only=True)
    prefix = "lm_backbone."
    own = {f"bert.{name.removeprefix(prefix)}": weight for name, weight in weights.items() if name.startswith(prefix)}
    return {"config.json": files["config.json"], "pytorch_model.bin": saved(own)}


def without_backbone(files: Files) -> Files:
    """A checkpoint whose text backbone was left out."""
    weights = torch.load(io.BytesIO(files["pytorch_model.bin"]), weights_only=True)
    kept = {name: weight for name, weight in weights.items() if not name.startswith("lm_backbone.")}
    return {**files, "pytorch_model.bin": saved(kept)}


def saved(weights: Mapping[str, torch.Tensor]) -> bytes:
    """A torch file."""
    file = io.BytesIO()
    torch.save(dict(weights), file)
    return file.getvalue()
