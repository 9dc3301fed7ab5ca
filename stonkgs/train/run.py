"""The flow of a training: count rows, learn, rate validation and test part, calibrate, write model and figures."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from omegaconf import DictConfig

from stonkgs.config import config_for_record
from stonkgs.disk import check_folder, folder_name
from stonkgs.division import NAME, Division, division, doubt
from stonkgs.engine import settings
from stonkgs.engine.failures import explained
from stonkgs.errors import printable
from stonkgs.evaluate.calibration import Calibration, calibration
from stonkgs.evaluate.extras import require
from stonkgs.evaluate.plots import draw_all
from stonkgs.graph.strict import doubt_of_graph
from stonkgs.protocol import TEST, TRAIN, VALIDATION
from stonkgs.runs.record import RunRecord, now
from stonkgs.source.fingerprint import Fingerprint
from stonkgs.train.census import Census, census
from stonkgs.train.evaluation import Rating, figures, remarks
from stonkgs.train.folder import TrainFolder
from stonkgs.train.launch import reap
from stonkgs.train.leak import told
from stonkgs.train.pretrained import keep_pretrained, learn_masked
from stonkgs.train.settings import check_settings, check_start_stays
from stonkgs.train.stages import TrainingStages, check_stages
from stonkgs.train.start import Learned, Training
from stonkgs.train.stream import hardly_mixed
from stonkgs.train.summary import Trained
from stonkgs.train.unlabelled import Pretraining

#: Said of a model of an earlier version, or of the first implementation.
UNKNOWN: Final = "the model's folder does not say which rows it was trained with"


def train(cfg: DictConfig) -> Trained | None:
    """Train and test, or with mode=test only test, as `configs/train.yaml` explains.

    Returns None in all processes but the first. Raises UserError.
    """
    _check(cfg)
    stages = TrainingStages.build(cfg)
    check_stages(cfg, stages)
    overwrite = cfg.overwrite and not stages.launch.child
    stages.launch.check(stages.trainer, overwrite=overwrite)
    if threads := stages.threads(cfg):
        torch.set_num_threads(threads)
    record, folder = stages.record(cfg), TrainFolder(Path(cfg.output_dir))
    state = folder.state(record, overwrite=overwrite)
    if isinstance(state, Trained):
        folder.tidy()
        return state
    training = _training(cfg, stages, folder, record, state.census if state else None, overwrite=overwrite)
    protocol = _protocol(stages, training.division)
    result = _learned(training, stages, record, protocol)
    grown = stages.reader.grown()
    if result is None:
        return None
    for path, count in grown.items():
        print(f"{path}: has grown by {count:,} bytes since the training began; they were not read", file=sys.stderr)
    if cfg.mode == "test" and not stages.start.divisions:
        result["remarks"].append(f"{UNKNOWN}: it may have been trained with rows that are tested here")
    base = stages.start.base(config_for_record(cfg)["model"])
    census = training.census.report()
    trained = Trained(
        record=record, output_dir=folder.path, finished=now(), protocol=protocol, census=census, base=base, **result
    )
    if folder.model.exists():
        trained.write_card(folder.model / "README.md")
    folder.finish(trained)
    return trained


def _training(
    cfg: DictConfig,
    stages: TrainingStages,
    folder: TrainFolder,
    record: RunRecord,
    counted: Census | None,
    *,
    overwrite: bool,
) -> Training:
    """Returns what there is to learn from. The rows are counted, unless an earlier attempt has `counted` them."""
    if isinstance(stages.task, Pretraining):
        assert stages.without is not None
        stages.task.leave_out(stages.without, stages.reader)
    if counted:
        folder.settle()
    else:
        counted = _count(cfg, stages, folder, record, overwrite=overwrite)
    selection = counted.selection(stages.reader, stages.task, stages.protocol)
    return Training(cfg, stages, stages.kge, selection, counted, folder, _division(stages, record.identity.input))


def _learned(training: Training, stages: TrainingStages, record: RunRecord, protocol: str) -> dict[str, Any] | None:
    """Learn, and write the model and its figures. Returns parts of run.json; None in all processes but the first."""
    with stages.launch.ending_others(stages.trainer, "the same command continues from the last checkpoint"):
        with explained(stages.workers(training.cfg), training.folder.kept):
            if isinstance(stages.task, Pretraining):
                result = keep_pretrained(learn_masked(stages.start, training), training, protocol)
            else:
                result = _evaluate(Rating(record, training), stages.start.learn(training), protocol)
        failed = reap(stages.trainer.strategy.launcher)
    if failed:
        print(f"{failed} of {stages.trainer.world_size} processes failed after the training", file=sys.stderr)
    return result


def _check(cfg: DictConfig) -> None:
    """Chooses the folder where none is given. Raises UserError for what can be known before any stage is built."""
    settings.quiet_libraries()
    check_settings(cfg)
    require("sklearn")
    require("matplotlib")
    if not cfg.output_dir:
        cfg.output_dir = str(Path("training" if cfg.mode == "train" else "tested") / folder_name(str(cfg.task.name)))
    check_folder(Path(cfg.output_dir), "output_dir")
    check_start_stays(cfg)


def _division(stages: TrainingStages, files: Sequence[Fingerprint]) -> Division:
    """Returns how the rows are divided, for the model folder."""
    return stages.task.division(files) if isinstance(stages.task, Pretraining) else division(stages.protocol, files)


def _protocol(stages: TrainingStages, divided: Division) -> str:
    """Returns the protocol as it stands beside every figure: with a doubt, where tested rows may have been learned.

    The model may have learned them, or the vectors that it reads.
    """
    if isinstance(stages.task, Pretraining):
        return f"{divided[NAME]}; measured on {stages.protocol.name}"
    protocol, tests_all = stages.protocol, TRAIN not in stages.protocol.parts
    found = [doubt(stages.start.divisions, divided, by_row=protocol.by_row, tests_all=tests_all)]
    if stages.start.reads_graph:
        found.append(doubt_of_graph(stages.kge.header.origin, divided, stages.reader.source.columns))
    found = [text for text in found if text]
    if not stages.launch.child:
        for text in found:
            print(f"beware: {printable(text)}", file=sys.stderr)
    return f"{protocol.name}; but {'; and '.join(found)}" if found else protocol.name


def _count(
    cfg: DictConfig, stages: TrainingStages, folder: TrainFolder, record: RunRecord, *, overwrite: bool
) -> Census:
    """Count the rows, and mark the folder as that of a training that has begun."""
    labels = stages.start.labels if cfg.mode == "test" else None
    with folder.counting(overwrite=overwrite) as rejected:
        counted = census(stages.reader, stages.task, stages.protocol, rejected, labels=labels)
    if cfg.mode == "train" and stages.start.in_steps:
        counted.warnings.extend(hardly_mixed(stages.reader, counted, cfg.batch.buffer))
    selection = counted.selection(stages.reader, stages.task, stages.protocol)
    for warning in told(selection, stages.start.columns):
        counted.warnings.append(warning)
        if not stages.launch.child:  # said at once: whoever did not mean it will not wait for the training to end
            print(f"beware: {warning}", file=sys.stderr)
    folder.begin(record, counted)
    return counted


def _evaluate(rating: Rating, learned: Learned, protocol: str) -> dict[str, Any] | None:
    """Rate validation and test part, calibrate in between, and write figures, plots and the model.

    Returns `metrics`, `temperature`, `calibration` and `remarks` of run.json; None in all processes but the first.
    """
    training = rating.training
    cfg, trainer, folder = training.cfg, training.placed.trainer, training.folder
    scale, validation = learned.uncalibrate(), None
    fit: Calibration | None = None
    if VALIDATION in training.census.rows and cfg.mode == "train":
        validation = rating.outcomes(VALIDATION, learned.rater)
        if learned.calibrates and cfg.calibrate:
            fit = calibration(validation)
            scale = fit.temperature
            validation = validation.calibrated(scale)
    rated = rating.rate(TEST, learned.rater)
    trainer.strategy.barrier()
    if trainer.global_rank:
        return None
    raw = rating.read(rated)
    test, before = raw.calibrated(scale), None if scale == 1 else raw
    values = figures(test, validation, training.census, protocol, before)
    if cfg.mode == "train":
        learned.save(folder.model, kge=training.kge, temperature=scale)
    rating.keep(rated, raw if scale == 1 else test)
    folder.write(folder.metrics, values)
    if learned.history:
        folder.write_history(learned.history)
    draw_all(test, protocol, folder.plots, before=before, history=learned.history)
    told = list(remarks(test, values))
    return {"metrics": values, "temperature": scale, "calibration": fit and asdict(fit), "remarks": told}
