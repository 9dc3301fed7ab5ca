"""The folder of a run: one plan at a time, what is under way, what is finished, and what is not ours to touch."""

import json
import re
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from stonkgs.disk import link, locked, make_folder, publish, sync_folder
from stonkgs.errors import UserError
from stonkgs.runs.finished import FORMAT, Finished, read_finished, read_ours
from stonkgs.runs.parts import Parts
from stonkgs.runs.plan import as_json, from_json
from stonkgs.runs.record import Record
from stonkgs.source.split import Plan

#: The last file of a run: it is there when everything else is.
SUCCESS: Final = "_SUCCESS"
#: How plan.json says that a run of ours wrote what lies beside it, and how earlier versions said so.
PLAN_FORMAT: Final = "stonkgs-plan-2"
OLDER: Final = ("stonkgs-plan-1",)


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that is under way: the plan that all its processes follow, and the record of the one that made it."""

    id: str
    plan: Plan
    record: Record


class RunFolder:
    """An `output_dir`. `plan.json` is there while a run is under way, and its parts lie in `parts-<its id>`.

    An earlier result stays till the new one is complete. Nothing is deleted or replaced but what a run of ours has
    made, told by run.json and plan.json. Of the file system it is assumed that a rename within a folder and a hard
    link are atomic, and that who opens a file sees what was written before it was closed (NFS promises both); locks
    are used where there are any, and nothing but doubled work comes of their absence.
    """

    def __init__(self, path: Path, extension: str) -> None:
        self.path = path
        self.extension = extension
        self.plan = path / "plan.json"
        self.predictions = path / f"predictions.{extension}"
        self.rejected = path / "rejected.jsonl"
        self.record = path / "run.json"
        self.success = path / SUCCESS
        #: where merge=false leaves the parts
        self.kept = path / "parts"

    def parts(self, plan_id: str) -> Parts:
        """The parts of the run of this plan."""
        return Parts(self.path / f"parts-{plan_id}", self.extension)

    def state(self, record: Record, files: tuple[str, ...]) -> Begun | Finished | None:
        """The run that is under way or finished here, over `files`; None where there is none.

        Raises UserError that says what differs, where it is not the run that `record` describes.
        """
        self._refuse_foreign()
        begun = self.begun()
        return self._to_continue(begun, record, files) if begun else self._to_keep(record)

    def _to_continue(self, begun: Begun, record: Record, files: tuple[str, ...]) -> Begun:
        """The run that is under way; UserError where it is another one than `record` describes."""
        if found := begun.record.identity.differences(record.identity):
            raise UserError(
                f"{self.path}: holds a run that is not finished, and of other settings: {found}. Go on with the "
                "same, choose another output_dir=, or start anew: overwrite=true"
            )
        self._check_parts(begun.id)
        # The same content, where another machine calls the files differently.
        return replace(begun, plan=replace(begun.plan, files=files[: len(begun.plan.files)]))

    def _to_keep(self, record: Record) -> Finished | None:
        """The run that is finished, if any; UserError where it is another one than `record` describes."""
        finished, found = self.finished(), "its record is of another version"
        if finished:
            found = finished.record.identity.differences(record.identity)
        if not self.success.exists():  # a run in which every row was rejected leaves none
            return finished if finished and not found and finished.predictions is None else None
        if found or finished is None:
            raise UserError(
                f"{self.path}: holds a finished run of other settings: {found}. Choose another output_dir=, "
                "or replace it: overwrite=true"
            )
        if not (self.path / str(finished.predictions)).exists():
            raise UserError(f"{self.path}: its run is finished, but {finished.predictions} is gone: overwrite=true")
        return finished

    def finished(self) -> Finished | None:
        """What the last run left that was finished here; None where there is none, or its record cannot be read."""
        try:
            return read_finished(self.record)
        except ValueError:
            return None

    def _check_parts(self, plan_id: str) -> None:
        """UserError where the run of this plan is under way, and what it has committed is gone."""
        if self.parts(plan_id).path.exists() or self.is_joined(plan_id) or not self.is_current(plan_id):
            return
        raise UserError(
            f"{self.parts(plan_id).path}: is gone, with what the run had committed; start anew: overwrite=true"
        )

    def begun(self) -> Begun | None:
        """The run that is under way, as its plan.json says."""
        try:
            values = json.loads(self.plan.read_text("utf-8"))
            if values["format"] in OLDER:
                raise UserError(
                    f"{self.plan}: its run was begun by another version and is not continued; choose another "
                    "output_dir=, or start anew: overwrite=true"
                )
            if values["format"] != PLAN_FORMAT or not re.fullmatch("[0-9a-f]{8}", values["id"]):
                raise ValueError("of another version")
            return Begun(values["id"], from_json(values), Record.from_json(values["run"]))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{self.plan}: is no plan of this version ({error}); remove it, or choose another output_dir="
            ) from error

    def begin(self, plan: Plan, record: Record, *, decided: Mapping[str, Any], overwrite: bool) -> Begun | Finished:
        """Have a run under way here: this one, or that of a process that was faster.

        `decided` are values that the record's identity leaves open, and that whoever begins the run decides for all.
        Raises UserError, and touches nothing, where this would destroy something. With `overwrite` it replaces what is
        here.
        """
        self._refuse_foreign()
        self._refuse_inputs(plan)
        whole = record.settled(decided)
        if overwrite:
            make_folder(self.path)
            with self.locked():  # not while somebody joins the parts
                self.plan.unlink(missing_ok=True)
                self._clear_work()
            self._publish_plan(plan, whole)
        while not (state := self.state(record, plan.files)):
            make_folder(self.path)
            self._publish_plan(plan, whole)
        return state

    def _publish_plan(self, plan: Plan, record: Record) -> None:
        """Make this the folder's plan, unless there is one: a link is made or not, by one process alone."""
        plan_id = uuid.uuid4().hex[:8]
        parts = self.parts(plan_id)
        values = {"format": PLAN_FORMAT, "id": plan_id, "run": record.to_json()} | as_json(plan)
        text = json.dumps(values, indent=1).encode() + b"\n"
        try:
            parts.path.mkdir()
            with publish(parts.plan) as file:
                file.write(text)
            link(parts.plan, self.plan)
            sync_folder(self.path)
        except FileExistsError:  # another process was faster
            return
        except OSError as error:
            raise UserError(f"{self.plan}: cannot be made: {error.strerror or error}") from error
        finally:
            if not self.is_current(plan_id):  # by its content: over NFS a link may be made, and be said to have failed
                parts.discard()

    def is_current(self, plan_id: str) -> bool:
        """Whether the run of this plan is still under way: else it was finished by another process, or replaced."""
        try:
            return bool(json.loads(self.plan.read_text("utf-8"))["id"] == plan_id)
        except FileNotFoundError:
            return False

    def locked(self) -> AbstractContextManager[None]:
        """A lock on plan.json: one process at a time joins the parts."""
        return locked(self.plan)

    def is_joined(self, plan_id: str) -> bool:
        """Whether the result of this plan's run is there; then but the last steps are left."""
        finished = self.finished()
        return finished is not None and finished.plan == plan_id

    def retract(self, plan_id: str, name: str | None) -> None:
        """Take back an earlier run's result, as this one's is complete, and about to be there as `name`."""
        if self.is_joined(plan_id):
            return
        self.success.unlink(missing_ok=True)
        finished = self.finished()
        earlier = finished.predictions if finished else None
        if earlier == self.kept.name:
            if self.parts(plan_id).path.exists():
                Parts(self.kept, self.extension).discard()
        elif earlier and earlier != name:
            (self.path / earlier).unlink(missing_ok=True)

    def write_record(self, finished: Finished, parts: Parts) -> None:
        """Write run.json, by way of the parts' folder as all of the result."""
        written = parts.path / self.record.name
        with publish(written, lasting=False) as file:
            file.write(json.dumps(finished.to_json(), indent=2).encode() + b"\n")
        written.replace(self.record)
        sync_folder(self.path)

    def seal(self, plan_id: str) -> None:
        """The last steps of a run whose run.json is there; they may be taken again, if a process died on the way."""
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
        """Remove what runs have left that are over."""
        if self.plan.exists():
            return
        self._clear_work()
        finished = self.finished()
        if finished and finished.predictions == self.kept.name:
            Parts(self.kept, self.extension).clear(but=self.extension)

    def _clear_work(self) -> None:
        """Remove the parts of runs: their folders hold a plan of the same name, or have not come so far."""
        for path in list(self.path.iterdir()):
            parts = Parts(path, self.extension)
            if re.fullmatch(r"\.gone-parts-[\w-]+", path.name):
                parts.clear()  # of a process that was killed in the middle of it
            elif (found := re.fullmatch("parts-([0-9a-f]{8})", path.name)) and parts.is_of(found[1]):
                parts.discard()

    def _refuse_foreign(self) -> None:
        ours = (self.predictions, self.rejected, self.record, self.plan, self.kept)
        taken = [path.name for path in ours if path.exists() or path.is_symlink()]
        # Looked into after that, in this order: another process may begin a run just now, or finish one.
        if taken and not (read_ours(self.plan, (PLAN_FORMAT, *OLDER)) or read_ours(self.record, (FORMAT,))):
            raise UserError(f"{self.path}: holds {', '.join(taken)}, which no run wrote; choose another output_dir=")

    def _refuse_inputs(self, plan: Plan) -> None:
        mine = {path.resolve() for path in (self.predictions, self.rejected, self.record, self.plan)}
        for file in map(Path, plan.files):
            if file.resolve() in mine or self.kept.resolve() in file.resolve().parents:
                raise UserError(f"{file}: the run would replace its own input; choose another output_dir=")
