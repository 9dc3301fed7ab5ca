"""Fine-tunes a network: builds the schedule, the module and the data from a training's settings."""

import numpy as np
import numpy.typing as npt

from stonkgs.config import build
from stonkgs.errors import UserError
from stonkgs.model.predictor import Predictor
from stonkgs.protocol import TRAIN
from stonkgs.train.census import Census
from stonkgs.train.fit import Fit, TrainingData
from stonkgs.train.module import FineTuning
from stonkgs.train.schedule import Schedule
from stonkgs.train.start import Training


def fine_tune(training: Training, predictor: Predictor, *, frozen: bool) -> list[dict[str, float]]:
    """Train the predictor's network, or continue from the last checkpoint. Returns the rows of history.csv.

    `frozen` says whether the text backbone is frozen where the configuration does not.
    """
    cfg, placed = training.cfg, training.placed
    module = _module(training, predictor, frozen=frozen)
    placed.trainer.loggers = [build(cfg.logger, trust=tuple(cfg.trust))] if cfg.logger else []
    data = TrainingData(
        module,
        training.selection,
        training.census,
        buffer=cfg.batch.buffer,
        window=cfg.batch.window,
        num_workers=placed.workers(cfg),
        start_method=cfg.start_method,
    )
    Fit(training.folder, placed.trainer, cfg.monitor, cfg.patience, cfg.checkpoint_every).run(module, data)
    return module.history


def _module(training: Training, predictor: Predictor, *, frozen: bool) -> FineTuning:
    cfg = training.cfg
    return FineTuning(
        predictor,
        _schedule(training),
        optimizer=build(cfg.optimizer, trust=tuple(cfg.trust)),
        warmup=cfg.warmup,
        freeze_backbone=frozen if cfg.freeze_backbone is None else cfg.freeze_backbone,
        backbone_dropout=bool(cfg.backbone_dropout),
        weights=balanced_weights(training.census) if cfg.class_weights else None,
        threads=training.placed.threads(cfg),
        log_every=cfg.log_every,
    )


def _schedule(training: Training) -> Schedule:
    cfg, counted, trainer = training.cfg, training.census, training.placed.trainer
    counts = list(counted.parts[TRAIN].values())
    schedule = Schedule(
        counts=np.array([counted.rows[TRAIN]] if counted.classes.multi_label else counts),
        epochs=cfg.epochs,
        size=cfg.batch.size,
        world=trainer.world_size,
        laps=cfg.validations,
        accumulate=trainer.accumulate_grad_batches,
        balanced=cfg.sampling == "balanced",
        seed=cfg.seed,
    )
    if schedule.rows < schedule.world:
        raise UserError(f"{schedule.rows} training rows are too few for {schedule.world} devices: trainer.devices=1")
    return schedule


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
