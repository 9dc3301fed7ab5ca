"""Runs a prediction or an embedding from source to writer: the whole flow on one screen, a line for each stage."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from omegaconf import DictConfig

from stonkgs.batch import Batches
from stonkgs.config import build
from stonkgs.config.values import read_settings
from stonkgs.disk import MappedFiles, check_folder, folder_name
from stonkgs.encode.inputs import check_columns
from stonkgs.engine import settings
from stonkgs.engine.children import children, orders
from stonkgs.engine.devices import devices_of, single
from stonkgs.engine.failures import explained
from stonkgs.engine.interrupt import advising
from stonkgs.engine.lightning import StatementData, StatementModule
from stonkgs.engine.placement import Placement
from stonkgs.engine.plan_only import Survey, survey
from stonkgs.engine.progress import RowProgress
from stonkgs.engine.share import Share, check_overwrite, share_of
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model.answer import Responder
from stonkgs.model.embedder import Embedder
from stonkgs.model.predictor import Predictor
from stonkgs.runs.finished import FinishedRun
from stonkgs.runs.folder import RunFolder
from stonkgs.runs.job import Job
from stonkgs.runs.record import RunRecord
from stonkgs.runs.recording import answer_record
from stonkgs.runs.summary import RunSummary
from stonkgs.source.base import Reader, Source
from stonkgs.source.file import line_at
from stonkgs.source.fingerprint import Watch
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection
from stonkgs.writer.base import PredictionWriter

#: Rows of a split by default. Rows are sorted by length within a split: with 256 rows a run on a CPU takes 1.2 times as
#: long, because more is padded.
SPLIT_ROWS = {"cpu": 2_048, "gpu": 16_384}
#: The command of a process that does another share: see `stonkgs.engine.children`.
CHILD = (sys.executable, "-P", "-m", "stonkgs.cli.child")

#: Makes what answers batches of a configuration and the model with its store.
Respond = Callable[[DictConfig, Predictor], Responder]


@dataclass(frozen=True, slots=True)
class Stages(Placement):
    """The stages that a configuration builds, and where they run."""

    #: the share of this process
    share: Share
    #: the orders to the processes that do the other shares of this command
    orders: Sequence[Mapping[str, Any]]
    kge: KgeStore
    responder: Responder
    source: Source
    writer: PredictionWriter

    @classmethod
    def build(cls, cfg: DictConfig, given: Share, respond: Respond) -> Self:
        """Builds all stages. Raises UserError where one cannot be built, or does not fit the others.

        `given` is the share of this command; it is divided among the command's devices. `respond` makes of a model
        what answers batches.
        """
        make = partial(build, trust=tuple(cfg.trust))
        _refuse_training_only(cfg.model)
        devices = devices_of(cfg.trainer, given)
        trainer, share = make(single(cfg.trainer, devices[0])), given.subshare(0, len(devices))
        source, writer = make(cfg.source), make(cfg.writer)
        source.files()  # refuses a misspelt path before a published model is fetched
        predictor = Predictor(make(cfg.model), make(cfg.kge), any_kge=cfg.any_kge)
        responder = respond(cfg, predictor)
        others = orders(responder.answer.command, cfg, given, devices)
        return cls(trainer, share.local, share, others, predictor.kge, responder, source, writer)


def _rater(cfg: DictConfig, predictor: Predictor) -> Predictor:
    """Returns what predicts: the model itself. Raises UserError where it has no classifier."""
    if not predictor.labels:
        name = cfg.model.get("path") or cfg.model.get("name")
        raise UserError(
            f"{name}: a pre-trained model without a classifier; fine-tune it first, or embed with it: stonkgs embed"
        )
    return predictor


def _embedder(cfg: DictConfig, predictor: Predictor) -> Embedder:
    """Returns what embeds. Raises UserError where the model has no such embeddings."""
    return Embedder(predictor, cfg.what)


def _refuse_training_only(model: DictConfig) -> None:
    """Raises UserError where `model=` is one to train, such as a part of another model."""
    target = str(model.get("_target_"))
    if target.startswith("stonkgs.") and target.endswith((".part_of", ".Fresh", ".TfIdf")):
        raise UserError(
            f"model._target_={target}: is for training alone (stonkgs train); what predicts or embeds is a model "
            "folder, of any architecture: model=stonkgs model.path=FOLDER"
        )


def predict(cfg: DictConfig, share: Share | None = None) -> RunSummary | Survey | None:
    """Predicts statements and writes the predictions to disk; `configs/predict.yaml` explains each key.

    `share` is the share of this process among those that share `output_dir`, by default from `cfg.splits` and the
    environment. Returns None where another process prints the summary. Raises UserError.
    """
    read_settings(cfg, settings.PredictSettings)
    return _run(cfg, share, _rater)


def embed(cfg: DictConfig, share: Share | None = None) -> RunSummary | Survey | None:
    """Embeds statements and writes the embeddings to disk, as `predict`; `configs/embed.yaml` explains each key."""
    read_settings(cfg, settings.EmbedSettings)
    return _run(cfg, share, _embedder)


def _run(cfg: DictConfig, share: Share | None, respond: Respond) -> RunSummary | Survey | None:
    settings.quiet_libraries()
    settings.check_paths(cfg)
    given = share or share_of(cfg.splits)
    check_overwrite(cfg.overwrite, alone=given.of == 1)
    stages = Stages.build(cfg, given, respond)
    responder, answer = stages.responder, stages.responder.answer
    writer, trainer, share = stages.writer, stages.trainer, stages.share

    watched = stages.source.watch()
    files = tuple(watch.path for watch in watched)
    folder = writer.run_folder(Path(cfg.output_dir or Path(answer.name) / _stem(files[0])), answer)
    check_folder(folder.path, "output_dir")
    inputs = [watch.fingerprint for watch in watched]
    record = answer_record(cfg, inputs, responder, stages.kge, device=stages.device, precision=trainer.precision)
    run = None if cfg.overwrite or cfg.plan_only else folder.existing(record, files)
    if isinstance(run, FinishedRun):
        return _already_finished(run, folder, share)
    job = _job(cfg, stages, record, folder.path, run.plan if run else None, watched)
    check_columns(responder.reads, stages.source.others(job.plan.schema), "the input")
    if cfg.plan_only:
        return _survey(cfg, stages, job)
    job.check_files = MappedFiles(responder.files).check
    run = writer.start(job, overwrite=cfg.overwrite)
    if isinstance(run, FinishedRun):  # other processes finished it while this one was planning
        return _already_finished(run, folder, share)

    reader = stages.source.reader(run.plan, watched=watched)
    job.check_input = reader.grown
    module = StatementModule(responder, threads=run.record.identity.values["threads"] or cfg.threads)
    progress = RowProgress.for_writer(writer, share.of, hidden=share.local_index > 0)
    trainer.callbacks += [writer, progress]  # type: ignore[attr-defined]
    failing, data = explained(stages.workers(cfg), writer.kept), _data(cfg, stages, reader)
    with advising(writer.advice), failing, children(CHILD, stages.orders) as others:
        account = writer.run(lambda: trainer.predict(module, datamodule=data, return_predictions=False))
        failed = others.failed()
    if failed:
        count = len(stages.orders) + 1
        print(f"{failed} of {count} processes failed; the others did their share", file=sys.stderr)
    here, again = writer.presence, writer.finished.done_again
    told = here.seconds, here.rows, again, reader.grown(), answer.command
    summary = RunSummary(account, folder.path, writer.published, *told)
    return _for_printing(summary, share)


def _job(
    cfg: DictConfig,
    stages: Stages,
    record: RunRecord,
    folder: Path,
    plan: Plan | None,
    watched: Sequence[Watch],
) -> Job:
    """Returns the writer's job, with the plan of the run under way or else a new one."""
    rows = cfg.split.rows or SPLIT_ROWS[stages.device]
    return Job(
        output_dir=folder,
        plan=plan or stages.source.plan(rows, watched),
        answer=stages.responder.answer,
        first_line=stages.source.first_line,
        record=record,
        defaults={"split.rows": rows, "threads": stages.threads(cfg)},
        on_rejected=_raise if cfg.on_error == "raise" else None,
        merge=cfg.merge,
    )


def _data(cfg: DictConfig, stages: Stages, reader: Reader) -> StatementData:
    """Returns the batches of the planned source that this process reads."""
    batches = partial(Batches, encoder=stages.responder.encoder(), size=cfg.batch.size, window=cfg.batch.window)
    return StatementData(
        reader,
        batches,
        num_workers=stages.workers(cfg),
        start_method=cfg.start_method,
        index=stages.share.index,
        of=stages.share.of,
        committed=stages.writer.parts,
    )


def _survey(cfg: DictConfig, stages: Stages, job: Job) -> Survey:
    """Surveys the input for plan_only=true, with the model on the trainer's device and in its precision."""
    stages.writer.prepare(job)
    if threads := stages.threads(cfg):
        torch.set_num_threads(threads)
    responder, precision = stages.responder, stages.trainer.precision_plugin
    if responder.module is not None:
        precision.convert_module(responder.module.to(stages.trainer.strategy.root_device))
    with precision.forward_context():
        encoder, workers = responder.encoder(), stages.workers(cfg)
        return survey(stages.source.reader(job.plan), encoder, responder, size=cfg.batch.size, workers=workers)


def _already_finished(run: FinishedRun, folder: RunFolder, share: Share) -> RunSummary | None:
    """Returns the summary of a finished run; removes what a process that was killed at the very end has left."""
    folder.tidy()
    told: dict[str, Any] = {"done_again": run.done_again, "command": run.record.identity.command}
    return _for_printing(RunSummary(run.account, folder.path, run.predictions, **told), share)


def _for_printing(summary: RunSummary, share: Share) -> RunSummary | None:
    """Returns the summary in the process that prints it, else None. Raises UserError where no row could be used."""
    if not share.prints_summary:
        return None
    if not summary.predictions:
        rejected = summary.output_dir / "rejected.jsonl"
        raise UserError(f"all {summary.account.rejected:,} rows were rejected: see {rejected}")
    return summary


def _raise(rejection: Rejection) -> None:
    """on_error=raise: stops at the first row that cannot be used, and says where it is."""
    place = f"row {rejection.row}"
    if rejection.offset is not None:
        place = f"line {line_at(rejection.file, rejection.offset)}, byte {rejection.offset}"
    raise UserError(f"{rejection.file}, {place}: {rejection.reason}")


def _stem(path: str) -> str:
    """Returns the input's file name without its extensions, which names the default output_dir."""
    name = Path(path).name
    for ending in (".gz", ".zst", ".tsv", ".csv", ".txt", ".jsonl", ".json", ".parquet", ".nodelink", ".bel"):
        name = name.removesuffix(ending)
    return folder_name(name)
