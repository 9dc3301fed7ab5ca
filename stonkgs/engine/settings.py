"""What every run checks before it loads anything, and how it sees to its surroundings."""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from stonkgs.errors import UserError

#: Beyond any sensible count, and within what C's integers hold.
MOST = 2**31


def check_counts(cfg: DictConfig, least: Mapping[str, int], *, nullable: Sequence[str] = ()) -> None:
    """UserError where one of these keys is no whole number of its least value or more."""
    for key, fewest in least.items():
        value = OmegaConf.select(cfg, key)
        if not ((type(value) is int and fewest <= value < MOST) or (value is None and key in nullable)):
            raise UserError(f"{key}={value}: must be a whole number of {fewest} or more")


def check_truths(cfg: DictConfig, keys: Sequence[str]) -> None:
    """Only true is true: to hydra, `no` and `flase` are words."""
    for key in keys:
        if type(cfg[key]) is not bool:
            raise UserError(f"{key}={cfg[key]}: must be true or false")


def check_choices(cfg: DictConfig, choices: Mapping[str, Sequence[Any]]) -> None:
    """UserError where a key has none of its values."""
    for key, values in choices.items():
        if cfg[key] not in values:
            named = [value for value in values if value is not None] + ["null"] * (None in values)
            raise UserError(f"{key}={cfg[key]}: must be one of {', '.join(named)}")


def check_paths(cfg: DictConfig) -> None:
    """UserError where a stage's path is empty, or `trust` is no list."""
    for key, what in (("source.path", "a file"), ("kge.path", "a file"), ("model.path", "a folder")):
        path = OmegaConf.select(cfg, key, default="own")  # a source of somebody's own may have none
        published = str(OmegaConf.select(cfg, key.replace("path", "_target_"))).endswith(".published")
        if path == "" or (path is None and not published):  # what is published knows its place
            raise UserError(f"{key}= is empty; name {what}")
    if not isinstance(cfg.trust, ListConfig):
        raise UserError(f"trust={cfg.trust}: must be a list, [{cfg.trust}]")


def stem(path: str) -> str:
    """The input's name without its endings: what its results are called by default."""
    name = Path(path).name
    for ending in (".gz", ".zst", ".tsv", ".csv", ".txt", ".jsonl", ".json", ".parquet", ".nodelink", ".bel"):
        name = name.removesuffix(ending)
    return name


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quiet() -> None:
    """Lightning's notices are for people who write loops; ours are the progress bar and the summary."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "does not have many workers",
        "infer the batch indices",
        "isinstance.treespec, LeafSpec",
        "persistent_workers",
        "in eval mode at the start of training",
        "reload_dataloaders_every_n_epochs",
        "val_dataloader.* has zero",
        "across ranks is zero",
        "Checkpoint directory .* exists",
        "Trying to infer the `batch_size`",
    ):
        warnings.filterwarnings("ignore", f".*{message}.*")
