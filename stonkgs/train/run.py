"""train(cfg): labelled statements in, a model folder and its figures out, on one screen."""

import sys
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from stonkgs.config import named
from stonkgs.disk import explain_full_shm
from stonkgs.engine import settings
from stonkgs.evaluate.calibration import temperature
from stonkgs.evaluate.extras import require
from stonkgs.evaluate.plots import draw_all
from stonkgs.runs.record import Record, now
from stonkgs.train.census import Census, census
from stonkgs.train.evaluation import Rating, figures
from stonkgs.train.fit import write_history
from stonkgs.train.folder import Begun, TrainFolder
from stonkgs.train.launch import reap
from stonkgs.train.protocol import TEST, VALIDATION
from stonkgs.train.record import training_record
from stonkgs.train.settings import check_settings
from stonkgs.train.stages import Stages, check_stages
from stonkgs.train.start import Learned, Training
from stonkgs.train.summary import Trained


def train(cfg: DictConfig) -> Trained | None:
    """Labelled statements in, a model and its figures out: `configs/train.yaml` says what each key means.

    None in a process that another one tells for. Raises UserError.
    """
    settings.quiet()
    check_settings(cfg)
    require("sklearn")
    require("matplotlib")
    if not cfg.output_dir:
        cfg.output_dir = str(Path("training" if cfg.mode == "train" else "tested") / cfg.task.name)
    stages = Stages.build(cfg)
    check_stages(cfg, stages)
    overwrite = cfg.overwrite and not stages.launch.child
    stages.launch.check(stages.trainer, overwrite=overwrite)
    if threads := stages.threads(cfg):
        torch.set_num_threads(threads)
    record, folder = training_record(cfg, stages), TrainFolder(Path(cfg.output_dir))
    state = folder.state(record, overwrite=overwrite)
    if isinstance(state, Trained):
        folder.tidy()
        return state
    if isinstance(state, Begun):
        folder.settle()
    counted = state.census if isinstance(state, Begun) else _count(cfg, stages, folder, record, overwrite=overwrite)
    selection = counted.selection(stages.reader, stages.task, stages.protocol)
    training = Training(cfg, stages, stages.kge, selection, counted, folder)
    with stages.launch.ending_others(stages.trainer, "the same command continues from the last checkpoint"):
        with explain_full_shm(stages.workers(cfg)):
            result = _evaluate(Rating(record, training), stages.start.learn(training), stages.protocol.name)
        failed = reap(stages.trainer.strategy.launcher)
    if failed:
        print(f"{failed} of {stages.trainer.world_size} processes failed after the training", file=sys.stderr)
    if result is None:
        return None
    trained = Trained(
        record=record,
        output_dir=folder.path,
        finished=now(),
        protocol=stages.protocol.name,
        census=counted.told(),
        base=stages.start.base(named(cfg)["model"]),
        **result,
    )
    return _finish(folder, trained)


def _count(cfg: DictConfig, stages: Stages, folder: TrainFolder, record: Record, *, overwrite: bool) -> Census:
    """Look at every row once, and begin."""
    labels = stages.start.labels if cfg.mode == "test" else None
    with folder.counting(overwrite=overwrite) as rejected:
        counted = census(stages.reader, stages.task, stages.protocol, rejected, labels=labels)
    folder.begin(record, counted)
    return counted


def _evaluate(rating: Rating, learned: Learned, protocol: str) -> dict[str, Any] | None:
    """Rate validation and test, calibrate in between, and write figures, plots and the model; what run.json says of it.

    None in a process that another one tells for.
    """
    cfg, trainer, folder = rating.training.cfg, rating.training.placed.trainer, rating.folder
    scale, validation = learned.uncalibrate(), None
    if VALIDATION in rating.census.rows and cfg.mode == "train":
        validation = rating.outcomes(VALIDATION, learned.rater)
        if learned.calibrates and cfg.calibrate:
            scale = temperature(validation)
            validation = validation.calibrated(scale)
    path, prefix = rating.rate(TEST, learned.rater)
    trainer.strategy.barrier()
    if trainer.global_rank:
        return None
    raw = rating.read(path, prefix)
    values = figures(raw, validation, rating.census, protocol, scale)
    if cfg.mode == "train":
        learned.save(folder.model, kge=rating.training.kge, temperature=scale)
    rating.keep(path, prefix, scale)
    folder.write(folder.metrics, values)
    if learned.history:
        write_history(folder.history, learned.history)
    before = None if scale == 1 else raw
    draw_all(raw.calibrated(scale), protocol, folder.plots, before=before, history=learned.history)
    return {"metrics": values, "temperature": scale}


def _finish(folder: TrainFolder, trained: Trained) -> Trained:
    """Write the model card, and run.json."""
    if folder.model.exists():
        trained.write_card(folder.model / "README.md")
    folder.finish(trained)
    return trained
