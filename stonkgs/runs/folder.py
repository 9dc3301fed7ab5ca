"""The folder of a run: begins or continues one run at a time, keeps its results, and leaves other files alone."""

import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from stonkgs.disk import locked, make_folder, publish, sync_folder
from stonkgs.errors import UserError
from stonkgs.runs.finished import FORMAT, FinishedRun, read_finished, read_own_json
from stonkgs.runs.parts import Parts
from stonkgs.runs.plan_file import PlanFile, UnfinishedRun
from stonkgs.runs.record import RunRecord
from stonkgs.source.split import Plan

#: The last file that a run makes: it says that all others are complete.
SUCCESS: Final = "_SUCCESS"
#: So often a process tries to begin or join a run, when others begin and end runs in the same folder.
ATTEMPTS: Final = 100


class RunFolder:
    """An `output_dir`. While a run is under way it holds `plan.json`, and the run's parts in `parts-<id of the plan>`.

    An earlier result stays until the new one is complete. Only files that a run of ours made are replaced or deleted;
    run.json and plan.json say so. The file system must rename within a folder and make hard links atomically, and
    whoever opens a closed file must see all of it (NFS promises both). Locks are used where there are any; without
    them two processes may do the same work.
    """

    def __init__(self, path: Path, extension: str = "", results: Sequence[str] = ()) -> None:
        """`extension` is that of parts, and `results` are the names of what they are joined to."""
        self.path = path
        self.extension = extension
        self.plan = path / "plan.json"
        self._plan_file = PlanFile(self.plan)
        self.results = tuple(path / name for name in results)
        self.rejected = path / "rejected.jsonl"
        self.record = path / "run.json"
        self.success = path / SUCCESS
        #: where merge=false leaves the parts
        self.kept = path / "parts"

    def parts(self, plan_id: str) -> Parts:
        """Returns the parts of the run with this plan."""
        return Parts(self.path / f"parts-{plan_id}", self.extension)

    def existing(self, record: RunRecord, files: tuple[str, ...]) -> UnfinishedRun | FinishedRun | None:
        """Returns the run that is under way or finished here, with `files` as its input; None where there is none.

        Raises UserError that says what differs, where it is not the run that `record` describes.
        """
        self._plan_file.remove_half()
        self._refuse_others_files()
        run = self.unfinished()
        return self._to_continue(run, record, files) if run else self._to_keep(record)

    def _to_continue(self, run: UnfinishedRun, record: RunRecord, files: tuple[str, ...]) -> UnfinishedRun:
        """Returns the run under way. Raises UserError where it is not the one that `record` describes."""
        if found := run.record.identity.differences(record.identity):
            raise UserError(
                f"{self.path}: holds a run that is not finished, and of other settings: {found}. Go on with the "
                "same, choose another output_dir=, or start anew: overwrite=true"
            )
        self.check_parts(run.id)
        # Another machine may have the same content under other paths.
        return replace(run, plan=replace(run.plan, files=files[: len(run.plan.files)]))

    def _to_keep(self, record: RunRecord) -> FinishedRun | None:
        """Returns the finished run, if any. Raises UserError where it is not the one that `record` describes."""
        finished, found = self.finished(), "its record is of another version"
        if finished:
            found = finished.record.identity.differences(record.identity)
        if not self.success.exists():  # as after a run in which every row was rejected
            return finished if finished and not found and finished.predictions is None else None
        if found or finished is None:
            raise UserError(
                f"{self.path}: holds a finished run of other settings: {found}. Choose another output_dir=, "
                "or replace it: overwrite=true"
            )
        if gone := [name for name in finished.results if not (self.path / name).exists()]:
            raise UserError(f"{self.path}: its run is finished, but {gone[0]} is gone: overwrite=true")
        if problem := finished.size_problem(self.path):
            raise UserError(f"{problem}. Restore it, or do it again: overwrite=true")
        return finished

    def finished(self) -> FinishedRun | None:
        """Returns the last run that was finished here; None where there is none, or its run.json cannot be read."""
        try:
            return read_finished(self.record)
        except ValueError:
            return None

    def check_parts(self, plan_id: str) -> None:
        """Raises UserError where the run of this plan is under way, but its folder of parts is gone."""
        for _ in range(2):
            if self.parts(plan_id).path.exists() or self.is_joined(plan_id) or not self.is_current(plan_id):
                return
            time.sleep(0.2)  # another process may put it back at once: see `Parts.discard`
        raise UserError(
            f"{self.parts(plan_id).path}: is gone, with what the run had committed; start anew: overwrite=true"
        )

    def unfinished(self) -> UnfinishedRun | None:
        """Returns the run under way; None where there is none. Raises UserError where its plan.json cannot be used."""
        return self._plan_file.read()

    def is_current(self, plan_id: str) -> bool:
        """Returns whether the run of this plan is still under way; if not, it was finished or replaced."""
        return self._plan_file.is_of(plan_id)

    def begin(
        self, plan: Plan, record: RunRecord, *, defaults: Mapping[str, Any], overwrite: bool
    ) -> UnfinishedRun | FinishedRun:
        """Begins a run, or joins the one that another process has begun or finished meanwhile; returns it.

        `defaults` are values that the record's identity leaves open: the process that begins a run decides them for
        all others. With `overwrite` the run starts anew. Raises UserError, and changes nothing, where another run is
        here, or where somebody else's files or the run's own input would be replaced.
        """
        self._plan_file.remove_half()
        self._refuse_others_files()
        self._refuse_inputs(plan)
        complete = record.with_defaults(defaults)
        if overwrite:
            make_folder(self.path)
            with self.locked():  # wait while another process joins the parts
                self.plan.unlink(missing_ok=True)
                self._clear_work()
            self._make_plan(plan, complete)
        for _ in range(ATTEMPTS):
            if run := self.existing(record, plan.files):
                return run
            make_folder(self.path)
            self._make_plan(plan, complete)
        raise UserError(f"{self.plan}: cannot be made, because other processes keep removing it")

    def _make_plan(self, plan: Plan, record: RunRecord) -> None:
        """Makes this the folder's plan unless it has one."""
        run = UnfinishedRun(uuid.uuid4().hex[:8], plan, record)
        self._plan_file.make(run, self.parts(run.id))

    def locked(self) -> AbstractContextManager[None]:
        """Returns a lock on plan.json, so that one process at a time joins the parts."""
        return locked(self.plan)

    def is_joined(self, plan_id: str) -> bool:
        """Returns whether the results of this plan's run are in place; then only `seal` is left to do."""
        finished = self.finished()
        return finished is not None and finished.plan == plan_id

    def retract(self, plan_id: str, names: Sequence[str]) -> None:
        """Removes an earlier run's results, when this one's are complete and about to get their places as `names`."""
        if self.is_joined(plan_id):
            return
        self.success.unlink(missing_ok=True)
        finished = self.finished()
        for earlier in finished.results if finished else ():
            if earlier == self.kept.name:
                if self.parts(plan_id).path.exists():
                    Parts(self.kept, self.extension).discard()
            elif earlier not in names:
                (self.path / earlier).unlink(missing_ok=True)

    def write_record(self, finished: FinishedRun, parts: Parts) -> None:
        """Writes run.json in the folder of parts, then moves it to its place."""
        written = parts.path / self.record.name
        with publish(written, lasting=False) as file:
            file.write(json.dumps(finished.to_json(), indent=2).encode() + b"\n")
        written.replace(self.record)
        sync_folder(self.path)

    def seal(self, plan_id: str) -> None:
        """Takes the last steps of a run whose run.json is in place. They may be repeated, if a process died midway."""
        finished, parts = self.finished(), self.parts(plan_id)
        predictions = finished.predictions if finished else None
        if predictions == self.kept.name and parts.path.exists():
            self._keep(parts)
        if predictions:
            self.success.touch()
        sync_folder(self.path)
        self.plan.unlink(missing_ok=True)
        self.tidy()

    def _keep(self, parts: Parts) -> None:
        sync_folder(parts.path)
        try:
            parts.path.rename(self.kept)
        except OSError as error:
            raise UserError(
                f"{self.kept}: cannot be made of {parts.path.name} ({error.strerror}); it may hold files that no run "
                "wrote: move them away, and give the same command again"
            ) from error

    def tidy(self) -> None:
        """Removes what finished and replaced runs have left behind. Does nothing while a run is under way."""
        if self.plan.exists():
            return
        self._clear_work()
        finished = self.finished()
        if finished and finished.predictions == self.kept.name:
            Parts(self.kept, self.extension).clear(but=self.extension)

    def _clear_work(self) -> None:
        """Removes folders of parts: each `parts-<id>` that holds the plan with this id, or nothing complete yet."""
        for path in list(self.path.iterdir()):
            parts = Parts(path, self.extension)
            if re.fullmatch(r"\.gone-parts-[\w-]+", path.name):
                parts.clear()  # its process was killed while it removed the folder
            elif (found := re.fullmatch("parts-([0-9a-f]{8})", path.name)) and parts.is_of(found[1]):
                parts.discard(unless=partial(self.is_current, found[1]))

    def _refuse_others_files(self) -> None:
        """Raises UserError where a file has one of our names, and no run has made it."""
        ours = (self.success, *self.results, self.rejected, self.record, self.plan, self.kept)
        taken = [path.name for path in ours if path.exists() or path.is_symlink()]
        # Both are read only now, and in this order: another process may just begin or finish a run.
        begun = bool(taken) and self._plan_file.is_ours()
        finished = bool(taken) and read_own_json(self.record, (FORMAT,))
        # A run makes _SUCCESS after its run.json, so beside a plan alone it is somebody else's.
        foreign = [name for name in taken if not (finished or (begun and name != SUCCESS))]
        if not foreign and not begun:  # a run under way may have put its results in place before its run.json
            foreign = self._unlisted(taken)
        if foreign:
            raise UserError(f"{self.path}: holds {', '.join(foreign)}, which no run wrote; choose another output_dir=")

    def _unlisted(self, taken: Sequence[str]) -> list[str]:
        """Returns which of the taken names of results the finished run has not made, as its run.json says."""
        finished, names = self.finished(), [path.name for path in self.results if path.name in taken]
        return [name for name in names if finished and name not in finished.results and (self.path / name).exists()]

    def _refuse_inputs(self, plan: Plan) -> None:
        mine = {path.resolve() for path in (*self.results, self.rejected, self.record, self.plan, self.success)}
        for file in map(Path, plan.files):
            if file.resolve() in mine or self.kept.resolve() in file.resolve().parents:
                raise UserError(f"{file}: the run would replace its own input; choose another output_dir=")
