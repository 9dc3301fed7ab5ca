"""What a training's configuration builds, and what is refused before anything is loaded, or begun."""

from dataclasses import dataclass
from functools import partial
from multiprocessing import get_all_start_methods
from typing import Any, Self

import torch
from omegaconf import DictConfig

from stonkgs.config import build
from stonkgs.engine import settings
from stonkgs.engine.placed import Placed
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.source.base import Reader, Source
from stonkgs.train.launch import Launch, launch
from stonkgs.train.protocol import TRAIN, Protocol
from stonkgs.train.start import Start
from stonkgs.train.starts import start_of
from stonkgs.train.task import Task

#: Counts that are chosen by the device, or never reached, where they are null.
NULLABLE = ("threads", "num_workers", "patience")
#: Of the trainer's settings those that would break the count of steps.
OURS = (
    *("max_steps", "min_steps", "min_epochs", "max_time", "fast_dev_run", "overfit_batches", "val_check_interval"),
    *("check_val_every_n_epoch", "limit_train_batches", "limit_val_batches", "limit_predict_batches"),
)


@dataclass(frozen=True, slots=True)
class Stages(Placed):
    """What a training's configuration builds, and where it runs."""

    launch: Launch
    task: Task
    protocol: Protocol
    reader: Reader
    kge: KgeStore
    #: what the training starts from
    start: Start

    @classmethod
    def build(cls, cfg: DictConfig) -> Self:
        """Each of them, a line a stage; UserError where one cannot be built."""
        launched = launch()
        make = partial(build, trust=tuple(cfg.trust))
        task, protocol = make(cfg.task), make(cfg.protocol)
        source = make(cfg.source)
        source.files()  # a path that is misspelt is told before a published model is fetched
        start, kge = start_of(make(cfg.model)), make(cfg.kge)
        trainer = make(launched.trainer_config(cfg.trainer))
        local = max(launched.local, trainer.num_devices)
        reader = source.reader(source.plan(cfg.split.rows))
        return cls(trainer, local, launched, task, protocol, reader, kge, start)

    @property
    def source(self) -> Source:
        """Where the labelled statements come from."""
        return self.reader.source


def check_settings(cfg: DictConfig) -> None:
    """Before anything is loaded."""
    counts = {"epochs": 1, "batch.size": 1, "batch.buffer": 1, "batch.window": 1, "split.rows": 1, "threads": 1}
    counts |= {"num_workers": 0, "validations": 1, "patience": 1, "log_every": 1, "checkpoint_every": 1, "seed": 0}
    settings.check_counts(cfg, counts, nullable=NULLABLE)
    settings.check_truths(cfg, ("overwrite", "calibrate", "any_kge", "debug"))
    if cfg.freeze_backbone is not None:
        settings.check_truths(cfg, ("freeze_backbone",))
    choices: dict[str, list[Any]] = {"mode": ["train", "test"], "class_weights": [None, "balanced"]}
    choices |= {"sampling": ["natural", "balanced"], "start_method": [None, *get_all_start_methods()]}
    choices |= {"monitor": ["macro_f1", "weighted_f1", "accuracy", "loss"]}
    settings.check_choices(cfg, choices)
    settings.check_paths(cfg)
    for key in OURS:
        if cfg.trainer.get(key) is not None:
            raise UserError(
                f"trainer.{key}: how long it trains, and when it validates, is said by epochs= and validations="
            )
    if type(cfg.warmup) not in (int, float) or not 0 <= cfg.warmup <= 1:
        raise UserError(f"warmup={cfg.warmup}: is a share of the steps, from 0 to 1")


def check_stages(cfg: DictConfig, stages: Stages) -> None:
    """UserError where stages do not go together."""
    trains = TRAIN in stages.protocol.parts
    if cfg.mode == "train" and not trains:
        raise UserError("protocol=all leaves nothing to train with; it is for mode=test")
    start = stages.start
    if cfg.mode == "test" and not start.labels:
        raise UserError("mode=test rates with a model that was fine-tuned: give its folder as model.path=")
    start.check(stages.kge, any_kge=cfg.any_kge, processes=stages.trainer.world_size)
    if cfg.mode == "test" and start.multi_label != stages.task.multi_label:
        raise UserError(f"mode=test: this model needs task.multi_label={str(start.multi_label).lower()}")
    if cfg.sampling == "balanced" and stages.task.multi_label:
        raise UserError("sampling=balanced: rows of several classes cannot be balanced; class_weights=balanced can")
    if cfg.sampling == "balanced" and cfg.class_weights == "balanced":
        raise UserError("sampling=balanced and class_weights=balanced make up for the same thing twice; choose one")
    check_parts(cfg)


def check_parts(cfg: DictConfig) -> None:
    """UserError where the optimizer or the logger cannot be made: said before all rows are counted, not after."""
    make = build(cfg.optimizer, trust=tuple(cfg.trust))
    try:
        make(params=[{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)])
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer: {cfg.optimizer._target_} refuses its settings: {error}") from error
    if cfg.logger:
        build(cfg.logger, trust=tuple(cfg.trust))
