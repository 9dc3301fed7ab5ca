"""Checks the keys of a run before anything is loaded, and silences libraries."""

import logging
import warnings
from dataclasses import dataclass
from typing import Literal

from omegaconf import DictConfig, ListConfig, OmegaConf

from stonkgs.config.values import Count, Whole
from stonkgs.errors import UserError
from stonkgs.model.embedder import What

StartMethod = Literal["fork", "forkserver", "spawn"]


@dataclass(frozen=True, slots=True)
class PredictBatching:
    """The keys of `batch`."""

    size: Count
    window: Count


@dataclass(frozen=True, slots=True)
class PredictSplitting:
    """The keys of `split`."""

    rows: Count | None


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """The types of the keys of `configs/predict.yaml` that are no stages. That file says what each means."""

    output_dir: str | None
    plan_only: bool
    overwrite: bool
    merge: bool
    on_error: Literal["reject", "raise"]
    batch: PredictBatching
    split: PredictSplitting
    num_workers: Whole | None
    start_method: StartMethod | None
    threads: Count | None
    any_kge: bool
    debug: bool


@dataclass(frozen=True, slots=True)
class EmbedSettings(PredictSettings):
    """The same for `configs/embed.yaml`."""

    what: What


def check_paths(cfg: DictConfig) -> None:
    """Raises UserError where a stage's path is empty, or `trust` is no list."""
    for key, what in (("source.path", "a file"), ("kge.path", "a file"), ("model.path", "a folder")):
        path = OmegaConf.select(cfg, key, default="own")  # a source of the user's own may have no path
        published = str(OmegaConf.select(cfg, key.replace("path", "_target_"))).endswith(".published")
        if path == "" or (path is None and not published):  # a published one is found by its name
            raise UserError(f"{key}= is empty; name {what}")
    if not isinstance(cfg.trust, ListConfig):
        raise UserError(f"trust={cfg.trust}: must be a list, [{cfg.trust}]")


def quiet_libraries() -> None:
    """Hides notices of Lightning and the HTTP client that are meant for programmers."""
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
