"""Makes a model folder and its store from a published model's name, at the first use; later uses find them."""

import sys
from pathlib import Path

from stonkgs.errors import UserError, printable
from stonkgs.kge.build import build
from stonkgs.model.convert import convert
from stonkgs.model.weights import read_weights
from stonkgs.published.cache import Cache
from stonkgs.published.catalog import BACKBONE, ENTRIES, GRAPH, MODELS, VECTORS, VOCABULARY, WALKS, Place
from stonkgs.published.fetch import fetch


def store_path() -> Path:
    """Return the store that all published models were trained with. Raises UserError if it cannot be made."""
    cache = Cache.of_user()
    if not cache.store.exists():
        _make(cache)
    return cache.store


def model_path(name: str) -> Path:
    """Return the folder of a published model, and make sure of its store. Raises UserError if one cannot be made."""
    if not isinstance(name, str) or name not in MODELS:
        raise UserError(f"model.name={name}: there is no such published model; there are {', '.join(MODELS)}")
    cache = Cache.of_user()
    folder = cache.models / name
    if not (folder.exists() and cache.store.exists()):
        _make(cache, name)
    return folder


def _make(cache: Cache, name: str | None = None) -> None:
    """Make the store, and the model of this name, if they are missing. Other processes wait meanwhile."""
    made = []
    with cache.alone():
        wants_store = not cache.store.exists()
        wants_model = name is not None and not (cache.models / name).exists()
        # One call for all files: without a network, its message names every missing file.
        fetch(_places(name if wants_model else None, store=wants_store), cache.files)
        if wants_store:
            files = cache.files / GRAPH.folder
            build(vectors=str(files / VECTORS), walks=str(files / WALKS), output=str(cache.store))
            made.append(cache.store)
        if name is not None and wants_model:
            made.append(_convert(cache, name))
    if made:
        told = f"made {' and '.join(map(str, made))}; the files in {cache.files} are not needed for them any more"
        print(printable(told), file=sys.stderr)


def _places(name: str | None, *, store: bool) -> list[Place]:
    """Return the places whose files are read to make the store and the model."""
    return [GRAPH] * store + ([MODELS[name].place, VOCABULARY] if name else [])


def _convert(cache: Cache, name: str) -> Path:
    """Convert the checkpoint to a model folder of ours, with its labels and the store's digest."""
    model, output = MODELS[name], cache.models / name
    checkpoint, backbone = cache.files / model.place.folder, VOCABULARY
    if not any(key.startswith("lm_backbone.") for key in read_weights(checkpoint)):
        backbone = BACKBONE
        fetch([backbone], cache.files)
    tokenizer = cache.files / backbone.folder
    _check_vocabulary(tokenizer / "vocab.txt")
    labels = list(model.labels) if model.labels else None
    convert(
        published=str(checkpoint), output=str(output), tokenizer=str(tokenizer), labels=labels, kge=str(cache.store)
    )
    return output


def _check_vocabulary(path: Path) -> None:
    """Raise UserError if this vocabulary has not as many lines as the one that all published models share."""
    with open(path, "rb") as file:
        lines = sum(1 for _ in file)
    if lines != ENTRIES:
        raise UserError(
            f"{path}: {lines:,} lines, but the vocabulary of {VOCABULARY.page} has {ENTRIES:,}; remove it, and the "
            "same command fetches it again"
        )
