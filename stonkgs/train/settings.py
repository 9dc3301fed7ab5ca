"""What the keys of a training may be, and what is refused before anything is loaded, or begun."""

from dataclasses import dataclass
from typing import Annotated, Literal

from omegaconf import DictConfig

from stonkgs.config.values import Count, Range, Whole, read_settings
from stonkgs.engine.settings import StartMethod, check_paths
from stonkgs.errors import UserError

#: Of the trainer's settings those that would break the count of steps.
OURS = (
    *("max_steps", "min_steps", "min_epochs", "max_time", "fast_dev_run", "overfit_batches", "val_check_interval"),
    *("check_val_every_n_epoch", "limit_train_batches", "limit_val_batches", "limit_predict_batches"),
)


@dataclass(frozen=True, slots=True)
class Batching:
    """How rows are mixed and batched."""

    size: Count
    buffer: Count
    window: Count


@dataclass(frozen=True, slots=True)
class Splitting:
    """How the input is cut into splits."""

    rows: Count


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What the keys of `configs/train.yaml` beside the stages may be; there stands what each means."""

    mode: Literal["train", "test"]
    output_dir: str | None
    overwrite: bool
    epochs: Count
    seed: Whole
    warmup: Annotated[float, Range(0, 1)]
    freeze_backbone: bool | None
    class_weights: Literal["balanced"] | None
    sampling: Literal["natural", "balanced"]
    validations: Count
    monitor: Literal["macro_f1", "weighted_f1", "accuracy", "loss"]
    patience: Count | None
    calibrate: bool
    log_every: Count
    checkpoint_every: Count
    batch: Batching
    split: Splitting
    num_workers: Whole | None
    start_method: StartMethod | None
    threads: Count | None
    any_kge: bool
    debug: bool


def check_settings(cfg: DictConfig) -> None:
    """Before anything is loaded."""
    read_settings(cfg, TrainSettings)
    check_paths(cfg)
    for key in OURS:
        if cfg.trainer.get(key) is not None:
            raise UserError(
                f"trainer.{key}: how long it trains, and when it validates, is said by epochs= and validations="
            )
