"""What a training's configuration builds, and what is refused before anything is loaded, or begun."""

from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from omegaconf import DictConfig

from stonkgs.config import build
from stonkgs.engine.placement import Placement
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.source.base import Reader, Source
from stonkgs.train.launch import Launch, launch
from stonkgs.train.protocol import TRAIN, Protocol
from stonkgs.train.start import Start
from stonkgs.train.starts import start_of
from stonkgs.train.task import Task


@dataclass(frozen=True, slots=True)
class Stages(Placement):
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
