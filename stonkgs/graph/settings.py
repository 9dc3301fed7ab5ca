"""Builds what a configuration of `stonkgs kge train` names, and runs it."""

import sys
from collections.abc import Sequence
from typing import Annotated

from omegaconf import DictConfig

from stonkgs.config import build
from stonkgs.config.values import Range, check
from stonkgs.errors import UserError
from stonkgs.graph.method import Method
from stonkgs.graph.train import TrainedStore, train_store
from stonkgs.graph.triples import SourceTriples, TripleFiles, Triples
from stonkgs.graph.update import UpdatedStore, update_store

#: A share of the edges: with half of them nothing is left to learn from.
Share = Annotated[float, Range(0, 0.5)]


def train_configured(
    cfg: DictConfig, *, files: Sequence[str], output: str, overwrite: bool, half: bool
) -> TrainedStore:
    """Learn a store as `configs/kge_train.yaml` explains, from `files` of triples or the source. Raises UserError."""
    check("held_out", cfg.held_out, Share)
    trust = tuple(cfg.trust)
    method, without = build(cfg.method, trust=trust), build(cfg.without, trust=trust)
    if not isinstance(method, Method):
        raise UserError(f"method._target_: {type(method).__name__} is no method of learning embeddings")
    return train_store(
        triples=triples_of(cfg, files),
        without=without,
        method=method,
        output=output,
        overwrite=overwrite,
        half=half,
        held_out=cfg.held_out,
    )


def update_configured(
    cfg: DictConfig, *, store: str, files: Sequence[str], output: str, overwrite: bool, legacy_node_shift: bool
) -> UpdatedStore:
    """Grow a store by the triples of a configuration; see `update_store`. Raises UserError."""
    return update_store(
        store=store,
        triples=triples_of(cfg, files),
        without=build(cfg.without, trust=tuple(cfg.trust)),
        output=output,
        overwrite=overwrite,
        legacy_node_shift=legacy_node_shift,
    )


def triples_of(cfg: DictConfig, files: Sequence[str]) -> Triples:
    """Returns the triples of `files`, or of the configuration's source. Raises UserError."""
    if files:
        triples = TripleFiles(files)
        for line in triples.headers():
            print(line, file=sys.stderr)
        return triples
    source = build(cfg.source, trust=tuple(cfg.trust))
    watched = source.watch()
    return SourceTriples(source.reader(source.plan(watched=watched), watched=watched))
