"""Checks the keys of `configs/train.yaml` that are not stages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from omegaconf import DictConfig

from stonkgs.config.values import Count, Range, Whole, read_settings
from stonkgs.engine.settings import StartMethod, check_paths
from stonkgs.errors import UserError

#: Settings of Lightning's Trainer that would break our count of steps.
REFUSED = (
    *("max_steps", "min_steps", "min_epochs", "max_time", "fast_dev_run", "overfit_batches", "val_check_interval"),
    *("check_val_every_n_epoch", "limit_train_batches", "limit_val_batches", "limit_predict_batches"),
)

#: Keys of a model that name what a training starts from.
STARTS = ("path", "backbone", "tokenizer", "vocabulary")


@dataclass(frozen=True, slots=True)
class TrainBatching:
    """How rows are shuffled and batched."""

    size: Count
    buffer: Count
    window: Count


@dataclass(frozen=True, slots=True)
class TrainSplitting:
    """How the input is cut into splits."""

    rows: Count


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """The values that each key may have; `configs/train.yaml` says what the keys mean."""

    mode: Literal["train", "test"]
    output_dir: str | None
    overwrite: bool
    epochs: Count
    seed: Whole
    warmup: Annotated[float, Range(0, 1)]
    freeze_backbone: bool | None
    backbone_dropout: bool | None
    class_weights: Literal["balanced"] | None
    sampling: Literal["natural", "balanced"]
    validations: Count
    monitor: Literal["macro_f1", "weighted_f1", "accuracy", "loss"]
    patience: Count | None
    calibrate: bool
    log_every: Count
    checkpoint_every: Count
    batch: TrainBatching
    split: TrainSplitting
    num_workers: Whole | None
    start_method: StartMethod | None
    threads: Count | None
    any_kge: bool
    debug: bool


def check_settings(cfg: DictConfig) -> None:
    """Raises UserError if a key has a value that it must not have. This loads nothing."""
    read_settings(cfg, TrainSettings)
    check_paths(cfg)
    for key in REFUSED:
        if cfg.trainer.get(key) is not None:
            raise UserError(f"trainer.{key}: set epochs= and validations= instead; they decide when training ends")


def check_start_stays(cfg: DictConfig) -> None:
    """Raises UserError if what a training starts from lies in its output_dir, where the training would replace it."""
    output = Path(cfg.output_dir).resolve()
    for key in STARTS if cfg.mode == "train" else ():
        start = Path(str(cfg.model.get(key))).resolve()  # "None", or a name such as fresh, is of nothing that is there
        if start.exists() and output in (start, *start.parents):
            raise UserError(
                f"model.{key}={cfg.model[key]}: lies in output_dir={cfg.output_dir}, where the training would replace "
                "it; choose another output_dir="
            )
