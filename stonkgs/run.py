"""The runs: each is the flow on one screen, a line a stage."""

import logging
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import Any, Self

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator

from stonkgs.batch import Batches
from stonkgs.build import build
from stonkgs.errors import UserError
from stonkgs.interrupt import Interrupted
from stonkgs.memory import shared_memory
from stonkgs.model.module import StatementData, StatementModule
from stonkgs.model.predictor import Predictor
from stonkgs.processes import Standing, reap, standing, trainer_config
from stonkgs.record import run_record
from stonkgs.source.base import Source
from stonkgs.source.file import line_at
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection
from stonkgs.summary import Summary
from stonkgs.survey import Survey, survey
from stonkgs.writer.account import Account
from stonkgs.writer.base import PredictionWriter, Task
from stonkgs.writer.folder import Finished, RunFolder

#: Rows of a split where nothing else is asked for. Of so many the lengths can be sorted: with 256 a run takes 1.2 times
#: as long on a CPU, for padding.
SPLIT_ROWS = {"cpu": 2_048, "gpu": 16_384}
#: Counts that are chosen by the device where they are null.
NULLABLE = ("split.rows", "threads", "num_workers")
#: Beyond any sensible count, and within what C's integers hold.
MOST = 2**31


@dataclass(frozen=True, slots=True)
class Stages:
    """The flow's parts as a configuration builds them, and where they run."""

    stands: Standing
    predictor: Predictor
    source: Source
    writer: PredictionWriter
    trainer: pl.Trainer

    @classmethod
    def build(cls, cfg: DictConfig) -> Self:
        """Each of them, a line a stage; UserError where one cannot be built, or does not fit the others."""
        stands = standing(cfg.splits)
        make = partial(build, trust=tuple(cfg.trust))
        predictor = Predictor(make(cfg.model), make(cfg.kge), any_kge=cfg.any_kge)
        if not predictor.labels:
            raise UserError(f"{cfg.model.path}: a pre-trained model without a classifier; fine-tune it first")
        source, writer = make(cfg.source), make(cfg.writer)
        return cls(stands, predictor, source, writer, make(trainer_config(cfg.trainer, cfg.splits, stands)))

    @property
    def device(self) -> str:
        """The kind of device."""
        return "cpu" if isinstance(self.trainer.accelerator, CPUAccelerator) else "gpu"

    def threads(self, cfg: DictConfig) -> int:
        """Of the model: every core that this process may use, shared with those that were started with it."""
        return cfg.threads or max(1, cores() // max(self.stands.local, self.trainer.num_devices))

    def workers(self, cfg: DictConfig) -> int:
        """On a CPU the network takes every core; beside a GPU the cores are free to read and encode."""
        if cfg.num_workers is not None:
            return int(cfg.num_workers)
        return 0 if self.device == "cpu" else max(1, min(8, cores() - 1))

    @property
    def processes(self) -> int:
        """How many there are in all, as far as they were told of each other."""
        return self.stands.of * self.trainer.world_size


def predict(cfg: DictConfig) -> Summary | Survey | None:
    """Statements in, predictions on disk: `configs/predict.yaml` says what each key means.

    None in a process that another one tells for. Raises UserError.
    """
    _quiet()
    _check_settings(cfg)
    stages = Stages.build(cfg)
    writer, trainer = stages.writer, stages.trainer
    overwrite = cfg.overwrite and not stages.stands.child
    _check_processes(stages, overwrite=overwrite)

    files = stages.source.files()
    folder = RunFolder(Path(cfg.output_dir or Path("predictions") / _stem(files[0])), writer.extension)
    record = run_record(cfg, files, stages.predictor, device=stages.device, precision=trainer.precision)
    state = None if overwrite or cfg.plan_only else folder.state(record, files)
    if isinstance(state, Finished):
        return _finished(state, folder)
    task = _task(cfg, stages, record, folder.path, state.plan if state else None)
    if cfg.plan_only:
        return _survey(cfg, stages, task)
    state = writer.start(task, overwrite=overwrite)
    if isinstance(state, Finished):  # by other processes, while this one was planning
        return _finished(state, folder)

    module = StatementModule(stages.predictor, threads=state.record["settings"]["threads"] or cfg.threads)
    trainer.callbacks += [writer, writer.progress(stages.processes)]  # type: ignore[attr-defined]
    try:
        with shared_memory(stages.workers(cfg)):
            trainer.predict(module, datamodule=_data(cfg, stages, state.plan), return_predictions=False)
        account = writer.finish()
        failed = reap(trainer.strategy.launcher)
    except BaseException as error:
        if isinstance(error, Interrupted):
            error.advice = "" if stages.stands.child else writer.advice()
        reap(trainer.strategy.launcher, kill=signal.SIGTERM)
        raise
    if failed:
        print(f"{failed} of {trainer.world_size} processes failed; the others did their share", file=sys.stderr)
    if trainer.global_rank:
        return None
    here = writer.presence
    return _useful(Summary(account, folder.path, writer.published, here.seconds, here.rows))


def _task(cfg: DictConfig, stages: Stages, record: dict[str, Any], folder: Path, plan: Plan | None) -> Task:
    """What is to be done, by the plan of the run that is under way, or by one that is made now."""
    device = stages.device
    rows = cfg.split.rows or SPLIT_ROWS[device]
    decided = {"split.rows": rows, "threads": stages.threads(cfg) if device == "cpu" else None}
    return Task(
        output_dir=folder,
        plan=plan or stages.source.plan(rows),
        labels=stages.predictor.labels,
        first_line=stages.source.first_line,
        record=record,
        decided=decided,
        on_rejected=_raise if cfg.on_error == "raise" else _keep,
        merge=cfg.merge,
    )


def _data(cfg: DictConfig, stages: Stages, plan: Plan) -> StatementData:
    """The planned source through encoder and batches, as this process reads it."""
    stages.source.planned = plan
    batches = partial(Batches, encoder=stages.predictor.encoder(), size=cfg.batch.size, window=cfg.batch.window)
    return StatementData(
        stages.source,
        batches,
        num_workers=stages.workers(cfg),
        start_method=cfg.start_method,
        index=stages.stands.index,
        of=stages.stands.of,
        committed=stages.writer.parts,
    )


def _survey(cfg: DictConfig, stages: Stages, task: Task) -> Survey:
    """plan_only=true: the model on the trainer's device and in its precision, as Trainer.predict would have it."""
    stages.writer.prepare(task)
    torch.set_num_threads(stages.threads(cfg))
    predictor, precision = stages.predictor, stages.trainer.precision_plugin
    precision.convert_module(predictor.model.to(stages.trainer.strategy.root_device))
    with precision.forward_context():
        encoder, workers = predictor.encoder(), stages.workers(cfg)
        return survey(stages.source, encoder, predictor, size=cfg.batch.size, workers=workers)


def _finished(state: Finished, folder: RunFolder) -> Summary:
    """Say so, and do nothing but remove what a process that was killed at the very end has left."""
    folder.tidy()
    return _useful(Summary(Account.of(state.record["result"]), folder.path, state.record["predictions"]))


def _useful(summary: Summary) -> Summary:
    if not summary.predictions:
        rejected = summary.output_dir / "rejected.jsonl"
        raise UserError(f"all {summary.account.rejected:,} rows were rejected: see {rejected}")
    return summary


def _check_settings(cfg: DictConfig) -> None:
    """Before anything is loaded: counts are counts, and only true is true (to hydra, `no` and `flase` are words)."""
    for key, least in (("batch.size", 1), ("batch.window", 1), ("split.rows", 1), ("threads", 1), ("num_workers", 0)):
        value = OmegaConf.select(cfg, key)
        if not ((type(value) is int and least <= value < MOST) or (value is None and key in NULLABLE)):
            raise UserError(f"{key}={value}: must be a whole number of {least} or more")
    for key in ("overwrite", "merge", "any_kge", "plan_only", "debug"):
        if type(cfg[key]) is not bool:
            raise UserError(f"{key}={cfg[key]}: must be true or false")
    for key, choices in (("on_error", ["reject", "raise"]), ("start_method", [None, *get_all_start_methods()])):
        if cfg[key] not in choices:
            raise UserError(f"{key}={cfg[key]}: must be one of {', '.join(filter(None, choices))}")
    for key, what in (("source.path", "a file"), ("kge.path", "a file"), ("model.path", "a folder")):
        if OmegaConf.select(cfg, key, default="own") in ("", None):  # a source of somebody's own may have no path
            raise UserError(f"{key}= is empty; name {what}")
    if not isinstance(cfg.trust, ListConfig):
        raise UserError(f"trust={cfg.trust}: must be a list, [{cfg.trust}]")


def _check_processes(stages: Stages, *, overwrite: bool) -> None:
    if overwrite and (stages.stands.together or stages.trainer.num_nodes > 1):
        raise UserError(
            "overwrite=true: this is one process of several, and would destroy what the others have begun; remove the "
            "earlier result, or choose another output_dir="
        )
    sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if sweep and stages.trainer.world_size > 1:
        raise UserError("--multirun runs each job on one device: trainer.devices=1, or start a command for each job")


def _stem(path: str) -> str:
    """The input's name without its endings: what its results are called by default."""
    name = Path(path).name
    for ending in (".gz", ".zst", ".tsv", ".csv", ".txt", ".jsonl", ".json", ".parquet"):
        name = name.removesuffix(ending)
    return name


def _keep(rejection: Rejection) -> None:
    """on_error=reject: a row that cannot be used is written to rejected.jsonl, and the rest is predicted."""


def _raise(rejection: Rejection) -> None:
    """on_error=raise: stop at the first row that cannot be used, and say where it is."""
    place = f"row {rejection.row}"
    if rejection.offset is not None:
        place = f"line {line_at(rejection.file, rejection.offset)}, byte {rejection.offset}"
    raise UserError(f"{rejection.file}, {place}: {rejection.reason}")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quiet() -> None:
    """Lightning's notices are for people who write loops; ours are the progress bar and the summary."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "does not have many workers",
        "infer the batch indices",
        "isinstance.treespec, LeafSpec",
        "persistent_workers",
    ):
        warnings.filterwarnings("ignore", f".*{message}.*")
