"""Trains a network in steps: builds the schedule, the module and the data from a training's settings."""

from typing import Any

import numpy as np
import numpy.typing as npt

from stonkgs.config import build
from stonkgs.errors import UserError
from stonkgs.model.predictor import Predictor
from stonkgs.model.pretraining import PretrainingHeads
from stonkgs.protocol import TRAIN
from stonkgs.train.census import Census
from stonkgs.train.data import LabelledData, PairData, TrainingData
from stonkgs.train.fit import Fit
from stonkgs.train.module import FineTuning
from stonkgs.train.pairs import PairEncoder, further
from stonkgs.train.pretraining import PreTraining
from stonkgs.train.schedule import Schedule
from stonkgs.train.selection import Selection
from stonkgs.train.start import Training
from stonkgs.train.stepwise import Stepwise


def fine_tune(training: Training, predictor: Predictor, *, frozen: bool) -> list[dict[str, float]]:
    """Train the predictor's network, or continue from the last checkpoint. Returns the rows of history.csv.

    `frozen` says whether the text backbone is frozen where the configuration does not.
    """
    cfg, counted = training.cfg, training.census
    counts = [counted.rows[TRAIN]] if counted.classes.multi_label else list(counted.parts[TRAIN].values())
    module = FineTuning(
        predictor,
        _schedule(training, np.array(counts), balanced=cfg.sampling == "balanced"),
        weights=balanced_weights(counted) if cfg.class_weights else None,
        **_module_settings(training, frozen=frozen),
    )
    return _run(training, module, LabelledData(module, *_rows(training), window=cfg.batch.window, **_loading(training)))


def pretrain(
    training: Training, predictor: Predictor, heads: PretrainingHeads, *, frozen: bool, encode: PairEncoder
) -> list[dict[str, float]]:
    """Train the predictor's network and heads on masked statements. Otherwise as `fine_tune`."""
    rows = training.census.rows[TRAIN]
    module = PreTraining(
        predictor,
        _schedule(training, np.array([rows + further(rows)])),
        heads=heads,
        **_module_settings(training, frozen=frozen),
    )
    return _run(training, module, PairData(module, *_rows(training), encode=encode, **_loading(training)))


def _run(training: Training, module: Stepwise, data: TrainingData) -> list[dict[str, float]]:
    """Run the loop of a module. Returns the rows of history.csv."""
    cfg, trainer = training.cfg, training.placed.trainer
    trainer.loggers = [build(cfg.logger, trust=tuple(cfg.trust))] if cfg.logger else []
    Fit(training.folder, trainer, cfg.monitor, cfg.patience, cfg.checkpoint_every).run(module, data)
    return module.history


def _rows(training: Training) -> tuple[Selection, Census]:
    return training.selection, training.census


def _loading(training: Training) -> dict[str, Any]:
    """Returns how rows are read."""
    cfg = training.cfg
    workers = training.placed.workers(cfg)
    return {"buffer": cfg.batch.buffer, "num_workers": workers, "start_method": cfg.start_method}


def _module_settings(training: Training, *, frozen: bool) -> dict[str, Any]:
    """Returns the settings of any `Stepwise` module."""
    cfg = training.cfg
    return {
        "optimizer": build(cfg.optimizer, trust=tuple(cfg.trust)),
        "warmup": cfg.warmup,
        "freeze_backbone": frozen if cfg.freeze_backbone is None else cfg.freeze_backbone,
        "backbone_dropout": bool(cfg.backbone_dropout),
        "threads": training.placed.threads(cfg),
        "log_every": cfg.log_every,
    }


def _schedule(training: Training, counts: npt.NDArray[np.int64], *, balanced: bool = False) -> Schedule:
    """Returns the steps of a training over so many rows of each class. Raises UserError if they are too few."""
    cfg, trainer = training.cfg, training.placed.trainer
    made = Schedule(
        counts=counts,
        epochs=cfg.epochs,
        size=cfg.batch.size,
        world=trainer.world_size,
        laps=cfg.validations,
        accumulate=trainer.accumulate_grad_batches,
        balanced=balanced,
        seed=cfg.seed,
    )
    if made.rows < made.world:
        raise UserError(f"{made.rows} training rows are too few for {made.world} devices: trainer.devices=1")
    return made


def balanced_weights(counted: Census) -> npt.NDArray[np.float64]:
    """Returns the balanced weights of the classes, float64 [K].

    A class of n of N rows weighs N / (K n), as scikit-learn's "balanced" does, or in a multi-label task (N - n) / n. A
    class that every row has weighs 1 there: with 0 nothing would teach the network that it is always there.
    """
    counts = np.array(list(counted.parts[TRAIN].values()), np.float64)
    present, weights = counts > 0, np.zeros(len(counts))  # a rare class may have all of its rows in another part
    if counted.classes.multi_label:
        np.divide(counted.rows[TRAIN] - counts, counts, out=weights, where=present)
        weights[counts == counted.rows[TRAIN]] = 1
    else:
        np.divide(counts.sum(), present.sum() * counts, out=weights, where=present)
    return weights
