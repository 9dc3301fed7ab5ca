"""From a published model's name to a model folder of ours and its store: made at their first use, and then there."""

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
    """The store that all published models were trained with; UserError where it cannot be made."""
    cache = Cache.of_user()
    if not cache.store.exists():
        _make(cache)
    return cache.store


def model_path(name: str) -> Path:
    """The model folder of a published model, when its store is there too; UserError where it cannot be made."""
    if not isinstance(name, str) or name not in MODELS:
        raise UserError(f"model.name={name}: there is no such published model; there are {', '.join(MODELS)}")
    cache = Cache.of_user()
    folder = cache.models / name
    if not (folder.exists() and cache.store.exists()):
        _make(cache, name)
    return folder


def _make(cache: Cache, name: str | None = None) -> None:
    """What is not there yet: the store, and with a name this model. One process does, and others wait for it."""
    made = []
    with cache.alone():
        wants_store = not cache.store.exists()
        wants_model = name is not None and not (cache.models / name).exists()
        # All files at once: where the network is out of reach, all that is missing is told.
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
    """Whose files are read to make them."""
    return [GRAPH] * store + ([MODELS[name].place, VOCABULARY] if name else [])


def _convert(cache: Cache, name: str) -> Path:
    """The checkpoint as a model folder of ours, with its labels and the store's digest."""
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
    """UserError where these are not the lines that all published models were trained with."""
    with open(path, "rb") as file:
        lines = sum(1 for _ in file)
    if lines != ENTRIES:
        raise UserError(
            f"{path}: {lines:,} lines, but the vocabulary of {VOCABULARY.page} has {ENTRIES:,}; remove it, and the "
            "same command fetches it again"
        )
