"""The runs: each is the flow on one screen, a line a stage."""

import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_all_start_methods
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator

from stonkgs.batch import Batches
from stonkgs.build import build
from stonkgs.errors import UserError
from stonkgs.memory import shared_memory
from stonkgs.model.module import StatementData, StatementModule
from stonkgs.model.predictor import Predictor
from stonkgs.progress import RowProgress
from stonkgs.record import run_record
from stonkgs.source.base import Source
from stonkgs.source.file import line_at
from stonkgs.statement import Rejection
from stonkgs.summary import Summary
from stonkgs.survey import Survey, survey
from stonkgs.writer.base import PredictionWriter, Task

#: Rows of a split where nothing else is asked for: a part a few seconds on either kind of device.
SPLIT_ROWS = {"cpu": 256, "gpu": 16_384}
#: Counts that are chosen by the device where they are null.
NULLABLE = ("split.rows", "threads", "num_workers")
#: Beyond any sensible count, and within what C's integers hold.
MOST = 2**31


def predict(cfg: DictConfig) -> Summary | Survey:
    """Statements in, predictions on disk: `configs/predict.yaml` says what each key means. Raises UserError."""
    _quiet()
    _check_settings(cfg)
    make = partial(build, trust=tuple(cfg.trust))
    predictor = Predictor(make(cfg.model), make(cfg.kge), any_kge=cfg.any_kge)
    _check_head(predictor, cfg)
    source: Source = make(cfg.source)
    writer: PredictionWriter = make(cfg.writer)
    trainer = _one_device(make(cfg.trainer))
    device = "cpu" if isinstance(trainer.accelerator, CPUAccelerator) else "gpu"

    encoder, num_workers, threads = predictor.encoder(), _workers(cfg, device), cfg.threads or cores()
    started = time.perf_counter()
    plan = source.plan(cfg.split.rows or SPLIT_ROWS[device])
    task = Task(
        output_dir=Path(cfg.output_dir or Path("predictions") / _stem(plan.files[0])),
        plan=plan,
        labels=predictor.labels,
        first_line=source.first_line,
        record=run_record(cfg, plan, predictor, device),
        on_rejected=_raise if cfg.on_error == "raise" else _keep,
    )
    if cfg.plan_only:
        writer.prepare(task)
        with _placed(predictor, trainer, threads):
            return survey(source, encoder, predictor, size=cfg.batch.size, workers=num_workers)
    writer.start(task, overwrite=cfg.overwrite)

    batches = partial(Batches, encoder=encoder, size=cfg.batch.size, window=cfg.batch.window)
    data = StatementData(source, batches, num_workers=num_workers, start_method=cfg.start_method)
    module = StatementModule(predictor, threads=threads)
    trainer.callbacks += [writer, RowProgress(plan)]  # type: ignore[attr-defined]
    with shared_memory(num_workers):
        trainer.predict(module, datamodule=data, return_predictions=False)

    account = writer.finish()
    summary = Summary(account, time.perf_counter() - started, task.output_dir, writer.extension)
    if account.rejected and not account.predicted:
        raise UserError(f"all {account.rejected:,} rows were rejected: see {task.output_dir / 'rejected.jsonl'}")
    return summary


def _check_settings(cfg: DictConfig) -> None:
    """Before anything is loaded: counts are counts, and only true is true (to hydra, `no` and `flase` are words)."""
    for key, least in (("batch.size", 1), ("batch.window", 1), ("split.rows", 1), ("threads", 1), ("num_workers", 0)):
        value = OmegaConf.select(cfg, key)
        if not ((type(value) is int and least <= value < MOST) or (value is None and key in NULLABLE)):
            raise UserError(f"{key}={value}: must be a whole number of {least} or more")
    for key in ("overwrite", "any_kge", "plan_only", "debug"):
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


def _check_head(predictor: Predictor, cfg: DictConfig) -> None:
    if not predictor.labels:
        raise UserError(f"{cfg.model.path}: a pre-trained model without a classifier; fine-tune it first")


def _one_device(trainer: pl.Trainer) -> pl.Trainer:
    """Several processes would each write the whole result; torchrun's are told by its variable."""
    processes = max(trainer.world_size, int(os.environ.get("WORLD_SIZE", "1")))
    if processes > 1:
        raise UserError(f"{processes} processes or devices were asked for; a run has one for now: trainer.devices=1")
    return trainer


@contextmanager
def _placed(predictor: Predictor, trainer: pl.Trainer, threads: int) -> Iterator[None]:
    """The model on the trainer's device and in its precision, as Trainer.predict would have it."""
    torch.set_num_threads(threads)
    precision = trainer.precision_plugin
    precision.convert_module(predictor.model.to(trainer.strategy.root_device))
    with precision.forward_context():
        yield


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


def _workers(cfg: DictConfig, device: str) -> int:
    """On a CPU the network takes every core; beside a GPU the cores are free to read and encode."""
    if cfg.num_workers is not None:
        return int(cfg.num_workers)
    return 0 if device == "cpu" else max(1, min(8, cores() - 1))


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
