"""Builds the stages of a training from its configuration, checks that they go together, and records them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

import torch
from omegaconf import DictConfig

from stonkgs.config import build
from stonkgs.encode.inputs import check_columns
from stonkgs.engine.placement import Placement
from stonkgs.errors import UserError
from stonkgs.graph.leave_out import LeaveOut
from stonkgs.kge.store import KgeStore
from stonkgs.protocol import TRAIN, Protocol
from stonkgs.runs.identity import STORE
from stonkgs.runs.record import RunRecord
from stonkgs.runs.recording import PACKAGES, new_record
from stonkgs.source.base import Reader
from stonkgs.train.launch import Launch, launch
from stonkgs.train.leak import check_task
from stonkgs.train.pretrained import check_pretraining, pretraining_identity
from stonkgs.train.start import Start
from stonkgs.train.starts import start_of
from stonkgs.train.task import Task
from stonkgs.train.unlabelled import Pretraining, TwoParts

#: The trainer's settings that change a figure.
_TRAINER: Final = ("precision", "gradient_clip_val", "accumulate_grad_batches")


@dataclass(frozen=True, slots=True)
class TrainingStages(Placement):
    """The objects that a training's configuration names, and the devices that it runs on."""

    launch: Launch
    task: Task
    protocol: Protocol
    reader: Reader
    kge: KgeStore
    #: what the training starts from
    start: Start
    #: which rows a pre-training leaves out; None for a fine-tuning, which divides them by the protocol alone
    without: LeaveOut | None = None

    @classmethod
    def build(cls, cfg: DictConfig) -> Self:
        """Build each stage. Raises UserError if one cannot be built."""
        launched = launch()
        make = partial(build, trust=tuple(cfg.trust))
        task, protocol = make(cfg.task), make(cfg.protocol)
        without = None
        if isinstance(task, Pretraining):
            if "without" not in cfg:
                raise UserError("task=pretraining: give experiment=pretrain instead, which has the other keys for it")
            protocol, without = TwoParts(protocol), make(cfg.without)
        elif any((cfg.get("without") or {}).get(key) for key in ("protocol", "where")):
            raise UserError("without= is for task=pretraining: another task leaves out what its protocol tests")
        source = make(cfg.source)
        source.files()  # reports a misspelt path before a published model is downloaded
        start, kge = start_of(make(cfg.model)), make(cfg.kge)
        trainer = make(launched.trainer_config(cfg.trainer))
        local = max(launched.local, trainer.num_devices)
        watched = source.watch()
        reader = source.reader(source.plan(cfg.split.rows, watched), watched=watched)
        return cls(trainer, local, launched, task, protocol, reader, kge, start, without)

    def record(self, cfg: DictConfig) -> RunRecord:
        """Returns the record of a training that is about to begin."""
        packages = (*PACKAGES, "torchmetrics", "scikit-learn")
        inputs, nodes = [watch.fingerprint for watch in self.reader.watched.values()], self.kge.nodes
        return new_record(cfg, inputs, dict(self._decisive(cfg)), command="train", packages=packages, nodes=nodes)

    def _decisive(self, cfg: DictConfig) -> Iterator[tuple[str, Any]]:
        """Yields the name and value of what changes the result and is not a key that `new_record` compares."""
        yield from ((f"trainer.{key}", cfg.trainer.get(key)) for key in _TRAINER)
        yield "processes", self.trainer.world_size
        yield "device", self.device
        yield from self.start.identity().items()
        if self.without:
            yield from pretraining_identity(self.start, self.without)
        yield STORE, self.kge.digest


def check_stages(cfg: DictConfig, stages: TrainingStages) -> None:
    """Raises UserError if stages do not go together."""
    trains = TRAIN in stages.protocol.parts
    if cfg.mode == "train" and not trains:
        raise UserError("protocol=all leaves no rows to train with; it is for mode=test")
    start = stages.start
    if isinstance(stages.task, Pretraining):
        check_pretraining(cfg, start)
    if cfg.mode == "test" and not start.labels:
        part = str(cfg.model.get("_target_")).endswith(".part_of")
        how = "model=stonkgs reads one of any architecture" if part else "give its folder as model.path="
        raise UserError(f"mode=test needs a model that was fine-tuned: {how}")
    check_task(start.columns, stages.task)
    check_columns(start.columns, stages.reader.source.others(stages.reader.plan.schema), "the input")
    start.check(stages.kge, any_kge=cfg.any_kge, processes=stages.trainer.world_size)
    if cfg.mode == "test" and start.multi_label != stages.task.multi_label:
        raise UserError(f"mode=test: this model needs task.multi_label={str(start.multi_label).lower()}")
    if cfg.sampling == "balanced" and stages.task.multi_label:
        raise UserError("sampling=balanced: rows of several classes cannot be balanced; class_weights=balanced can")
    if cfg.sampling == "balanced" and cfg.mode == "train" and not start.in_steps:
        raise UserError("sampling=balanced: this model learns from all rows at once; use class_weights=balanced")
    if cfg.sampling == "balanced" and cfg.class_weights == "balanced":
        raise UserError("sampling=balanced and class_weights=balanced correct the same thing twice; choose one")
    _check_optimizer_and_logger(cfg)


def _check_optimizer_and_logger(cfg: DictConfig) -> None:
    """Raises UserError if the optimizer or the logger cannot be made: now, and not after all rows are counted."""
    make = build(cfg.optimizer, trust=tuple(cfg.trust))
    try:
        make(params=[{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)])
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer: {cfg.optimizer._target_} refuses its settings: {error}") from error
    if cfg.logger:
        build(cfg.logger, trust=tuple(cfg.trust))
