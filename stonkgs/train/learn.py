"""From a counted task to what has learned it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from stonkgs.config import build
from stonkgs.errors import UserError
from stonkgs.model.fresh import Fresh
from stonkgs.model.network import Network, STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.train.census import Census
from stonkgs.train.fit import Fit, TrainingData
from stonkgs.train.folder import TrainFolder
from stonkgs.train.module import FineTuning
from stonkgs.train.protocol import TRAIN
from stonkgs.train.schedule import Schedule
from stonkgs.train.selection import Selection
from stonkgs.train.stages import Stages
from stonkgs.train.tfidf import TfIdf


def learn(
    cfg: DictConfig, stages: Stages, selection: Selection, counted: Census, folder: TrainFolder
) -> tuple[Predictor | TfIdf, list[dict[str, float]]]:
    """What has learned the task, and what was measured on the way. With mode=test, what is there."""
    if isinstance(stages.start, TfIdf):
        return _count_words(cfg, stages.start, selection, counted), []
    network = _network(cfg, stages, selection, counted, folder)
    predictor = Predictor(network, stages.kge, any_kge=cfg.any_kge)
    if cfg.mode == "test":
        return predictor, []
    module = _module(cfg, stages, predictor, counted)
    stages.trainer.loggers = [build(cfg.logger, trust=tuple(cfg.trust))] if cfg.logger else []
    data = TrainingData(
        module,
        selection,
        counted,
        buffer=cfg.batch.buffer,
        window=cfg.batch.window,
        num_workers=stages.workers(cfg),
        start_method=cfg.start_method,
    )
    Fit(folder, stages.trainer, cfg.monitor, cfg.patience, cfg.checkpoint_every).run(module, data)
    return predictor, module.history


def _module(cfg: DictConfig, stages: Stages, predictor: Predictor, counted: Census) -> FineTuning:
    # As published: the cross-modal model's backbone is frozen, the text-only baseline is fine-tuned as a whole.
    frozen = isinstance(stages.start, STonKGs) if cfg.freeze_backbone is None else cfg.freeze_backbone
    return FineTuning(
        predictor,
        _schedule(cfg, stages, counted),
        optimizer=build(cfg.optimizer, trust=tuple(cfg.trust)),
        warmup=cfg.warmup,
        freeze_backbone=frozen,
        weights=_weights(counted) if cfg.class_weights else None,
        threads=stages.threads(cfg),
        log_every=cfg.log_every,
    )


def _count_words(cfg: DictConfig, start: TfIdf, selection: Selection, counted: Census) -> TfIdf:
    """The baseline without a network; it holds the training part in memory."""
    labels = counted.classes.labels
    rows = [row for split in selection.reader.plan for row in selection.rows(split, TRAIN)]
    targets: Any = [row.target for row in rows]
    if counted.classes.multi_label:
        targets = np.array([[number in target for number in range(len(labels))] for target in targets])
    start.columns = selection.reader.source.columns
    start.fit((row.statement for row in rows), targets, labels, class_weights=cfg.class_weights, seed=cfg.seed)
    return start


def _network(cfg: DictConfig, stages: Stages, selection: Selection, counted: Census, folder: TrainFolder) -> Network:
    """What the training starts from, with a classifier for the task."""
    start, classes = stages.start, counted.classes
    torch.manual_seed(cfg.seed)
    if isinstance(start, Fresh):
        start = start.make(stages.kge, partial(_texts, selection), folder.path)
    assert isinstance(start, Network)
    return start if cfg.mode == "test" else start.with_classes(classes.labels, multi_label=classes.multi_label)


def _texts(selection: Selection) -> Iterator[str]:
    for split in selection.reader.plan:
        for row in selection.rows(split, TRAIN):
            yield row.statement.evidence


def _schedule(cfg: DictConfig, stages: Stages, counted: Census) -> Schedule:
    counts = list(counted.parts[TRAIN].values())
    schedule = Schedule(
        counts=np.array([counted.rows[TRAIN]] if counted.classes.multi_label else counts),
        epochs=cfg.epochs,
        size=cfg.batch.size,
        world=stages.trainer.world_size,
        laps=cfg.validations,
        accumulate=stages.trainer.accumulate_grad_batches,
        balanced=cfg.sampling == "balanced",
        seed=cfg.seed,
    )
    if schedule.rows < schedule.world:
        raise UserError(f"{schedule.rows} rows train on {schedule.world} devices: trainer.devices=1")
    return schedule


def _weights(counted: Census) -> Any:
    """float64 [K]: rows / (classes x rows of the class), as scikit-learn balances; multi-label: the others per row."""
    counts = np.array(list(counted.parts[TRAIN].values()), np.float64)
    there, weights = counts > 0, np.zeros(len(counts))  # a rare class may have all of its rows in another part
    if counted.classes.multi_label:
        return np.divide(counted.rows[TRAIN] - counts, counts, out=weights, where=there)
    return np.divide(counts.sum(), there.sum() * counts, out=weights, where=there)
