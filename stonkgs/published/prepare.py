"""Makes the model folder and the store of a published model at its first use. Later uses find them in the cache."""

import sys
from pathlib import Path

from stonkgs.errors import UserError, printable
from stonkgs.kge.build import build
from stonkgs.model.convert import convert
from stonkgs.model.weights import read_weights
from stonkgs.published.cache import Cache
from stonkgs.published.catalog import BACKBONE, ENTRIES, GRAPH, MODELS, VECTORS, VOCABULARY, WALKS, Deposit
from stonkgs.published.fetch import fetch


def store_path() -> Path:
    """Returns the path of the store of all published models, making it if needed. Raises UserError."""
    cache = Cache.of_user()
    if not cache.store.exists():
        _make(cache)
    return cache.store


def model_path(name: str) -> Path:
    """Returns the folder of a published model, making it and the store if needed. Raises UserError."""
    if not isinstance(name, str) or name not in MODELS:
        raise UserError(f"model.name={name}: there is no such published model; there are {', '.join(MODELS)}")
    cache = Cache.of_user()
    folder = cache.models / name
    if not (folder.exists() and cache.store.exists()):
        _make(cache, name)
    return folder


def _make(cache: Cache, name: str | None = None) -> None:
    """Make the store, and the named model, if they are missing. Other processes wait meanwhile."""
    made = []
    with cache.locked():
        wants_store = not cache.store.exists()
        wants_model = name is not None and not (cache.models / name).exists()
        # One call for all files: without a network, its message names every missing file.
        fetch(_deposits(name if wants_model else None, store=wants_store), cache.files)
        if wants_store:
            files = cache.files / GRAPH.folder
            build(vectors=str(files / VECTORS), walks=str(files / WALKS), output=str(cache.store))
            made.append(cache.store)
        if name is not None and wants_model:
            made.append(_convert(cache, name))
    if made:
        message = f"made {' and '.join(map(str, made))}; the files in {cache.files} are not needed for them any more"
        print(printable(message), file=sys.stderr)


def _deposits(name: str | None, *, store: bool) -> list[Deposit]:
    """Returns the deposits that are needed to make the store and the model."""
    return [GRAPH] * store + ([MODELS[name].deposit, VOCABULARY] if name else [])


def _convert(cache: Cache, name: str) -> Path:
    """Convert the checkpoint to a model folder with its labels and the store's digest. Returns the folder."""
    model, output = MODELS[name], cache.models / name
    checkpoint, backbone = cache.files / model.deposit.folder, VOCABULARY
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
    """Raises UserError unless this vocabulary has as many lines as that of the published models."""
    with open(path, "rb") as file:
        lines = sum(1 for _ in file)
    if lines != ENTRIES:
        raise UserError(
            f"{path}: {lines:,} lines, but the vocabulary of {VOCABULARY.page} has {ENTRIES:,}; remove it, and the "
            "same command fetches it again"
        )
