"""The runs: each is the flow on one screen, a line a stage."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from omegaconf import DictConfig

from stonkgs.batch import Batches
from stonkgs.config import build
from stonkgs.config.values import read
from stonkgs.disk import explain_full_shm
from stonkgs.engine import settings
from stonkgs.engine.children import children, orders
from stonkgs.engine.devices import devices_of, single
from stonkgs.engine.interrupt import advising
from stonkgs.engine.lightning import StatementData, StatementModule
from stonkgs.engine.placed import Placed
from stonkgs.engine.plan_only import Survey, survey
from stonkgs.engine.progress import RowProgress
from stonkgs.engine.share import Share, share_of
from stonkgs.errors import UserError
from stonkgs.model.predictor import Predictor
from stonkgs.runs.finished import Finished
from stonkgs.runs.folder import RunFolder
from stonkgs.runs.job import Job
from stonkgs.runs.record import Record
from stonkgs.runs.recording import prediction_record
from stonkgs.runs.summary import Summary
from stonkgs.source.base import Source
from stonkgs.source.file import line_at
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection
from stonkgs.writer.base import PredictionWriter

#: Rows of a split where nothing else is asked for. Of so many the lengths can be sorted: with 256 a run takes 1.2 times
#: as long on a CPU, for padding.
SPLIT_ROWS = {"cpu": 2_048, "gpu": 16_384}


#: What a process that does another share of a command runs: see `stonkgs.engine.children`.
CHILD = (sys.executable, "-P", "-m", "stonkgs.cli.child")


@dataclass(frozen=True, slots=True)
class Stages(Placed):
    """The flow's parts as a configuration builds them, and where they run."""

    #: the share of this process
    share: Share
    #: what the processes are told that do the other shares of this command
    others: Sequence[Mapping[str, Any]]
    predictor: Predictor
    source: Source
    writer: PredictionWriter

    @classmethod
    def build(cls, cfg: DictConfig, given: Share) -> Self:
        """Each of them, a line a stage; UserError where one cannot be built, or does not fit the others.

        `given` is the share of this command: it is divided by the devices that the command has.
        """
        make = partial(build, trust=tuple(cfg.trust))
        devices = devices_of(cfg.trainer, given)
        trainer, share = make(single(cfg.trainer, devices[0])), given.part(0, len(devices))
        source, writer = make(cfg.source), make(cfg.writer)
        source.files()  # a path that is misspelt is told before a published model is fetched
        predictor = Predictor(make(cfg.model), make(cfg.kge), any_kge=cfg.any_kge)
        if not predictor.labels:
            name = cfg.model.get("path") or cfg.model.get("name")
            raise UserError(f"{name}: a pre-trained model without a classifier; fine-tune it first")
        return cls(trainer, share.local, share, orders(cfg, given, devices), predictor, source, writer)


def predict(cfg: DictConfig, share: Share | None = None) -> Summary | Survey | None:
    """Statements in, predictions on disk: `configs/predict.yaml` says what each key means.

    `share` is this process's among several that share `output_dir`, by default what `cfg.splits` and the environment
    say. None in a process for which another one prints the summary. Raises UserError.
    """
    settings.quiet()
    read(cfg, settings.PredictSettings)
    settings.check_paths(cfg)
    given = share or share_of(cfg.splits)
    _check_alone(cfg, given)
    stages = Stages.build(cfg, given)
    writer, trainer, share = stages.writer, stages.trainer, stages.share

    files = stages.source.files()
    folder = RunFolder(Path(cfg.output_dir or Path("predictions") / settings.stem(files[0])), writer.extension)
    record = prediction_record(
        cfg, files, stages.predictor, stages.predictor.kge, device=stages.device, precision=trainer.precision
    )
    state = None if cfg.overwrite or cfg.plan_only else folder.state(record, files)
    if isinstance(state, Finished):
        return _finished(state, folder, share)
    job = _job(cfg, stages, record, folder.path, state.plan if state else None)
    if cfg.plan_only:
        return _survey(cfg, stages, job)
    state = writer.start(job, overwrite=cfg.overwrite)
    if isinstance(state, Finished):  # by other processes, while this one was planning
        return _finished(state, folder, share)

    module = StatementModule(stages.predictor, threads=state.record.identity.values["threads"] or cfg.threads)
    progress = RowProgress.over(writer, share.of, hidden=share.local_index > 0)
    trainer.callbacks += [writer, progress]  # type: ignore[attr-defined]
    with advising(writer.advice), children(CHILD, stages.others) as others:
        with explain_full_shm(stages.workers(cfg)):
            trainer.predict(module, datamodule=_data(cfg, stages, state.plan), return_predictions=False)
        account = writer.finish()
        failed = others.failed()
    if failed:
        count = len(stages.others) + 1
        print(f"{failed} of {count} processes failed; the others did their share", file=sys.stderr)
    here = writer.presence
    return _told(Summary(account, folder.path, writer.published, here.seconds, here.rows), share)


def _job(cfg: DictConfig, stages: Stages, record: Record, folder: Path, plan: Plan | None) -> Job:
    """What is to be done, by the plan of the run that is under way, or by one that is made now."""
    rows = cfg.split.rows or SPLIT_ROWS[stages.device]
    decided = {"split.rows": rows, "threads": stages.threads(cfg)}
    return Job(
        output_dir=folder,
        plan=plan or stages.source.plan(rows),
        labels=stages.predictor.labels,
        first_line=stages.source.first_line,
        record=record,
        decided=decided,
        on_rejected=_raise if cfg.on_error == "raise" else _keep,
        merge=cfg.merge,
        multi_label=stages.predictor.multi_label,
    )


def _data(cfg: DictConfig, stages: Stages, plan: Plan) -> StatementData:
    """The planned source through encoder and batches, as this process reads it."""
    batches = partial(Batches, encoder=stages.predictor.encoder(), size=cfg.batch.size, window=cfg.batch.window)
    return StatementData(
        stages.source.reader(plan),
        batches,
        num_workers=stages.workers(cfg),
        start_method=cfg.start_method,
        index=stages.share.index,
        of=stages.share.of,
        committed=stages.writer.parts,
    )


def _survey(cfg: DictConfig, stages: Stages, job: Job) -> Survey:
    """plan_only=true: the model on the trainer's device and in its precision, as Trainer.predict would have it."""
    stages.writer.prepare(job)
    if threads := stages.threads(cfg):
        torch.set_num_threads(threads)
    predictor, precision = stages.predictor, stages.trainer.precision_plugin
    precision.convert_module(predictor.model.to(stages.trainer.strategy.root_device))
    with precision.forward_context():
        encoder, workers = predictor.encoder(), stages.workers(cfg)
        return survey(stages.source.reader(job.plan), encoder, predictor, size=cfg.batch.size, workers=workers)


def _finished(state: Finished, folder: RunFolder, share: Share) -> Summary | None:
    """Say so, and do nothing but remove what a process that was killed at the very end has left."""
    folder.tidy()
    return _told(Summary(state.account, folder.path, state.predictions), share)


def _told(summary: Summary, share: Share) -> Summary | None:
    """The summary, in the process that prints it; UserError there where no row could be used."""
    if not share.tells:
        return None
    if not summary.predictions:
        rejected = summary.output_dir / "rejected.jsonl"
        raise UserError(f"all {summary.account.rejected:,} rows were rejected: see {rejected}")
    return summary


def _check_alone(cfg: DictConfig, share: Share) -> None:
    """UserError where this process would destroy what others have begun."""
    if cfg.overwrite and share.of > 1:
        raise UserError(
            "overwrite=true: this is one process of several, and would destroy what the others have begun; remove "
            "the earlier result, or choose another output_dir="
        )


def _keep(rejection: Rejection) -> None:
    """on_error=reject: a row that cannot be used is written to rejected.jsonl, and the rest is predicted."""


def _raise(rejection: Rejection) -> None:
    """on_error=raise: stop at the first row that cannot be used, and say where it is."""
    place = f"row {rejection.row}"
    if rejection.offset is not None:
        place = f"line {line_at(rejection.file, rejection.offset)}, byte {rejection.offset}"
    raise UserError(f"{rejection.file}, {place}: {rejection.reason}")
