"""The folder of a run: one plan at a time, what is under way, what is finished, and what is not ours to touch."""

import errno
import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stonkgs.differences import differences
from stonkgs.disk import make_folder, publish, sync_folder
from stonkgs.errors import UserError
from stonkgs.source.plan_json import as_json, from_json
from stonkgs.source.split import Plan
from stonkgs.writer.parts import Parts

#: The last file of a run: it is there when everything else is.
SUCCESS: Final = "_SUCCESS"
#: How run.json and plan.json say that a run of ours wrote what lies beside them.
FORMAT: Final = "stonkgs-run-2"
PLAN_FORMAT: Final = "stonkgs-plan-1"
#: Where a file system has no locks: then two processes may join the parts at once, and both write the same.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that is under way: the plan that all its processes follow, and the record of the one that made it."""

    id: str
    plan: Plan
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over, with what its run.json says."""

    record: dict[str, Any]


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

    def state(self, record: dict[str, Any], files: tuple[str, ...]) -> Begun | Finished | None:
        """The run that is under way or finished here, over `files`; None where there is none.

        Raises UserError that says what differs, where it is not the run that `record` describes.
        """
        self._refuse_foreign()
        if begun := self.begun(files):
            if found := differences(begun.record, record):
                raise UserError(
                    f"{self.path}: holds a run that is not finished, and of other settings: {found}. Go on with the "
                    "same, choose another output_dir=, or start anew: overwrite=true"
                )
            return begun
        if not self.success.exists():
            return None
        finished = read_record(self.record)
        if found := differences(finished, record):
            raise UserError(
                f"{self.path}: holds a finished run of other settings: {found}. Choose another output_dir=, "
                "or replace it: overwrite=true"
            )
        return Finished(finished)

    def begun(self, files: tuple[str, ...] | None = None) -> Begun | None:
        """The run that is under way, as its plan.json says; its own files where none are given."""
        try:
            values = json.loads(self.plan.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{self.plan}: cannot be read ({error}); start anew: overwrite=true") from error
        try:
            if values["format"] != PLAN_FORMAT or not re.fullmatch("[0-9a-f]{8}", values["id"]):
                raise ValueError("of another version")
            own = tuple(str(entry["path"]) for entry in values["files"])
            return Begun(values["id"], from_json(values, own if files is None else files), dict(values["run"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{self.plan}: is no plan of this version ({error}); start anew: overwrite=true") from error

    def begin(
        self, plan: Plan, record: dict[str, Any], *, decided: dict[str, Any], overwrite: bool
    ) -> Begun | Finished:
        """Have a run under way here: this one, or that of a process that was faster.

        `decided` are settings that are null in the record, and that whoever begins the run decides for all. UserError,
        and nothing touched, where this would destroy something. With `overwrite` what is here is replaced.
        """
        self._refuse_foreign()
        self._refuse_inputs(plan)
        settings = decided | {key: value for key, value in record.get("settings", {}).items() if value is not None}
        whole = record | {"settings": settings}
        if overwrite:
            make_folder(self.path)
            with self._locked():  # not while somebody joins the parts
                self.plan.unlink(missing_ok=True)
                self._clear_work()
            self._publish_plan(plan, whole)
        while not (state := self.state(record, plan.files)):
            make_folder(self.path)
            self._publish_plan(plan, whole)
        return state

    def _publish_plan(self, plan: Plan, record: dict[str, Any]) -> None:
        """Make this the folder's plan, unless there is one: a link is made or not, by one process alone."""
        plan_id = uuid.uuid4().hex[:8]
        parts = self.parts(plan_id)
        written = parts.path / "_plan.json"
        linked = False
        try:
            parts.path.mkdir()
            with publish(written) as file:
                values = {"format": PLAN_FORMAT, "id": plan_id, "run": record} | as_json(plan)
                file.write(json.dumps(values, indent=1, ensure_ascii=False, default=str).encode() + b"\n")
            os.link(written, self.plan)
            linked = True
            sync_folder(self.path)
        except FileExistsError:  # another process was faster
            return
        except OSError as error:
            raise UserError(f"{self.plan}: cannot be made: {error.strerror or error}") from error
        finally:
            if not linked:
                parts.clear()

    def is_current(self, plan_id: str) -> bool:
        """Whether the run of this plan is still under way: else it was finished by another process, or replaced."""
        try:
            return bool(json.loads(self.plan.read_text("utf-8"))["id"] == plan_id)
        except FileNotFoundError:
            return False

    @contextmanager
    def joining(self) -> Iterator[None]:
        """One process at a time; the others wait, and will find that it is done. Raises where the disk is full."""
        with self._locked():
            for path in self.path.iterdir():
                if re.fullmatch(r"(predictions\.\w+|rejected\.jsonl|run\.json|_SUCCESS)\.tmp-[\w-]+", path.name):
                    path.unlink(missing_ok=True)  # of a process that was killed while it joined
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """A lock on plan.json, which the system takes back from a dead process."""
        try:
            file = open(self.plan, "r+b")  # noqa: SIM115  # a lock over NFS wants it writable
        except FileNotFoundError:  # finished meanwhile
            yield
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            yield

    def write_record(self, record: dict[str, Any]) -> None:
        """Write run.json."""
        text = json.dumps({"format": FORMAT} | record, indent=2, ensure_ascii=False, default=str)
        with publish(self.record) as file:
            file.write(text.encode() + b"\n")

    def retract(self) -> None:
        """Take back an earlier run's result, as this one's is complete in its parts."""
        self.success.unlink(missing_ok=True)
        name = read_record(self.record).get("predictions")
        if name == self.kept.name:
            Parts(self.kept, self.extension).clear()
        elif isinstance(name, str) and re.fullmatch(r"predictions\.\w+", name):
            (self.path / name).unlink(missing_ok=True)

    def seal(self, plan_id: str) -> None:
        """The last steps of a run whose run.json is there; they may be taken again, if a process died on the way."""
        predictions = read_record(self.record).get("predictions")
        parts = self.parts(plan_id)
        if predictions == self.kept.name and parts.path.exists():
            self._keep(parts)
        if predictions:
            with publish(self.success):
                pass
        sync_folder(self.path)
        self.plan.unlink(missing_ok=True)
        self.tidy()

    def _keep(self, parts: Parts) -> None:
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
        if read_record(self.record).get("predictions") == self.kept.name:
            Parts(self.kept, self.extension).clear(but=self.extension)

    def _clear_work(self) -> None:
        for path in self.path.iterdir():
            if re.fullmatch("parts-[0-9a-f]{8}", path.name):
                Parts(path, self.extension).clear()

    def _refuse_foreign(self) -> None:
        ours = (self.predictions, self.rejected, self.record, self.plan, self.kept)
        taken = [path.name for path in ours if path.exists() or path.is_symlink()]
        # Looked into after that, in this order: another process may begin a run just now, or finish one.
        if taken and not (read_record(self.plan, PLAN_FORMAT) or read_record(self.record)):
            raise UserError(f"{self.path}: holds {', '.join(taken)}, which no run wrote; choose another output_dir=")

    def _refuse_inputs(self, plan: Plan) -> None:
        mine = {path.resolve() for path in (self.predictions, self.rejected, self.record, self.plan)}
        for file in map(Path, plan.files):
            if file.resolve() in mine or self.kept.resolve() in file.resolve().parents:
                raise UserError(f"{file}: the run would replace its own input; choose another output_dir=")


def read_record(path: Path, form: str = FORMAT) -> dict[str, Any]:
    """A run.json of ours; empty where there is none, or another's."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("format") == form else {}
