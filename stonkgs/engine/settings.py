"""What every run checks before it loads anything, and how it sees to its surroundings."""

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig, ListConfig, OmegaConf

from stonkgs.config.values import Count, Whole
from stonkgs.errors import UserError

StartMethod = Literal["fork", "forkserver", "spawn"]


@dataclass(frozen=True, slots=True)
class Batching:
    """How rows are batched."""

    size: Count
    window: Count


@dataclass(frozen=True, slots=True)
class Splitting:
    """How the input is cut into splits; None: chosen by the device."""

    rows: Count | None


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """What the keys of `configs/predict.yaml` beside the stages may be; there stands what each means."""

    output_dir: str | None
    plan_only: bool
    overwrite: bool
    merge: bool
    on_error: Literal["reject", "raise"]
    batch: Batching
    split: Splitting
    num_workers: Whole | None
    start_method: StartMethod | None
    threads: Count | None
    any_kge: bool
    debug: bool


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
    """Hide the notices of Lightning and of the HTTP client: they are for people who write loops or clients."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "httpx", "httpx2"):
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
