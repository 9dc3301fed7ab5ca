"""train(cfg): labelled statements in, a model folder and its figures out, on one screen."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from stonkgs.disk import shared_memory
from stonkgs.engine import settings
from stonkgs.engine.processes import reap
from stonkgs.evaluate.calibration import temperature
from stonkgs.evaluate.needs import needs
from stonkgs.evaluate.plots import draw_all
from stonkgs.model.digest import model_digest
from stonkgs.model.network import Network
from stonkgs.model.predictor import Predictor
from stonkgs.runs.record import Record, now
from stonkgs.train.census import Census, census
from stonkgs.train.evaluation import Rating, figures, uncalibrated
from stonkgs.train.fit import write_history
from stonkgs.train.folder import Begun, TrainFolder
from stonkgs.train.learn import learn
from stonkgs.train.protocol import TEST, VALIDATION
from stonkgs.train.record import training_record
from stonkgs.train.selection import Selection
from stonkgs.train.stages import Stages, check_settings, check_stages
from stonkgs.train.summary import Trained
from stonkgs.train.tfidf import TfIdf


def train(cfg: DictConfig) -> Trained | None:
    """Labelled statements in, a model and its figures out: `configs/train.yaml` says what each key means.

    None in a process that another one tells for. Raises UserError.
    """
    settings.quiet()
    check_settings(cfg)
    needs("sklearn")
    needs("matplotlib")
    cfg.output_dir = str(cfg.output_dir or Path("training" if cfg.mode == "train" else "tested") / cfg.task.name)
    stages = Stages.build(cfg)
    check_stages(cfg, stages)
    overwrite = cfg.overwrite and not stages.stands.child
    stages.check(overwrite=overwrite)
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
    selection = counted.selection(stages.source, stages.task, stages.protocol)
    with stages.ending_others(lambda: "the same command continues from the last checkpoint"):
        with shared_memory(stages.workers(cfg)):
            learner, measured = learn(cfg, stages, selection, counted, folder)
            result = _evaluate(cfg, stages, _rating(cfg, stages, selection, counted, folder, record), learner, measured)
        failed = reap(stages.trainer.strategy.launcher)
    if failed:
        print(f"{failed} of {stages.trainer.world_size} processes failed after the training", file=sys.stderr)
    if result is None:
        return None
    told = {"protocol": stages.protocol.name, "census": counted.told(), "base": _base(cfg), **result}
    return _finish(folder, Trained(record=record, output_dir=folder.path, finished=now(), **told))


def _count(cfg: DictConfig, stages: Stages, folder: TrainFolder, record: Record, *, overwrite: bool) -> Census:
    """Look at every row once, and begin."""
    labels = stages.start.config.labels if cfg.mode == "test" and isinstance(stages.start, Network) else None
    with folder.counting(overwrite=overwrite) as rejected:
        counted = census(stages.source, stages.task, stages.protocol, rejected, labels=labels)
    folder.begin(record, counted)
    return counted


def _evaluate(
    cfg: DictConfig, stages: Stages, rating: Rating, learner: Predictor | TfIdf, measured: list[dict[str, float]]
) -> dict[str, Any] | None:
    """Rate validation and test, calibrate in between, and write figures, plots and the model; what run.json says of it.

    None in a process that another one tells for.
    """
    scale, validation = uncalibrated(learner), None
    digest = model_digest(learner.model) if isinstance(learner, Predictor) else "tfidf"
    if VALIDATION in rating.census.rows and cfg.mode == "train":
        validation = rating.outcomes(VALIDATION, learner, digest)
        if isinstance(learner, Predictor) and cfg.calibrate:
            scale = temperature(validation)
            validation = validation.calibrated(scale)
    path, prefix = rating.rate(TEST, learner, digest)
    stages.trainer.strategy.barrier()
    if stages.trainer.global_rank:
        return None
    raw, folder, protocol = rating.read(path, prefix), rating.folder, stages.protocol.name
    values = figures(raw, validation, rating.census, protocol, scale)
    if isinstance(learner, Predictor) and cfg.mode == "train":
        learner.model.config = replace(learner.model.config, temperature=scale)
        learner.model.save_pretrained(folder.model, kge=stages.kge)
    rating.keep(path, prefix, scale)
    folder.write(folder.metrics, values)
    if measured:
        write_history(folder.history, measured)
    draw_all(raw.calibrated(scale), protocol, folder.plots, before=None if scale == 1 else raw, history=measured)
    return {"metrics": values, "temperature": scale}


def _base(cfg: DictConfig) -> str:
    """What the training started from, in words."""
    kind = cfg.model._target_.rpartition(".")[2]
    return str(cfg.model.get("path") or cfg.model.get("name") or f"random weights ({kind})")


def _finish(folder: TrainFolder, trained: Trained) -> Trained:
    """Write the model card, and run.json."""
    if folder.model.exists():
        trained.write_card(folder.model / "README.md")
    folder.finish(trained)
    return trained


def _rating(
    cfg: DictConfig, stages: Stages, selection: Selection, counted: Census, folder: TrainFolder, record: Record
) -> Rating:
    return Rating(
        record=record,
        selection=selection,
        census=counted,
        trainer=stages.trainer,
        folder=folder,
        size=cfg.batch.size,
        window=cfg.batch.window,
        workers=stages.workers(cfg),
        start_method=cfg.start_method,
        threads=stages.threads(cfg),
    )
