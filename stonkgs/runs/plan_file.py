"""plan.json: says which run is under way in a folder. Of several processes that begin one, only one can make it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stonkgs.disk import link, publish, remove_half_written, sync_folder
from stonkgs.errors import UserError, reason
from stonkgs.runs.finished import read_own_json
from stonkgs.runs.parts import Parts
from stonkgs.runs.plan import plan_from_json, plan_to_json
from stonkgs.runs.record import RunRecord
from stonkgs.source.split import Plan

#: `format` in a plan.json of ours, and in those of earlier versions.
FORMAT: Final = "stonkgs-plan-3"
OLDER: Final = ("stonkgs-plan-1", "stonkgs-plan-2")


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run under way: the plan that all its processes follow, and the record of the process that began it."""

    id: str
    plan: Plan
    record: RunRecord


class PlanFile:
    """The plan.json of a folder: a hard link to the plan in the run's folder of parts.

    Where there are no hard links it is a copy, and a process may be killed while it writes the copy. A file that is the
    beginning of a plan in one of the folders of parts, and not all of it, is taken for that.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> UnfinishedRun | None:
        """Returns the run under way; None where there is none. Raises UserError where the file cannot be used."""
        try:
            text = self.path.read_text("utf-8")
            if self._is_half(text.encode()):
                return None
            values = json.loads(text)
            if values["format"] in OLDER:
                raise UserError(
                    f"{self.path}: its run was begun by another version and is not continued; choose another "
                    "output_dir=, or start anew: overwrite=true"
                )
            if values["format"] != FORMAT or not re.fullmatch("[0-9a-f]{8}", values["id"]):
                raise ValueError("of another version")
            return UnfinishedRun(values["id"], plan_from_json(values), RunRecord.from_json(values["run"]))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {reason(error)}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{self.path}: is no plan of this version ({error}); remove it, or choose another output_dir="
            ) from error

    def is_of(self, plan_id: str) -> bool:
        """Returns whether this plan is the one of the run under way."""
        try:
            return bool(json.loads(self.path.read_text("utf-8"))["id"] == plan_id)
        except (FileNotFoundError, ValueError):  # gone, or just being copied where there are no hard links
            return False

    def is_ours(self) -> bool:
        """Returns whether a run of this or an earlier version has made the file, or is just making it."""
        return bool(read_own_json(self.path, (FORMAT, *OLDER))) or self._is_half(self._content())

    def make(self, run: UnfinishedRun, parts: Parts) -> None:
        """Makes this the run under way, with its folder of parts, unless there is one.

        Another process that has just ended a run may clear away what this one has begun to make. Then nothing is made,
        and the caller finds the finished run.
        """
        values = {"format": FORMAT, "id": run.id, "run": run.record.to_json()} | plan_to_json(run.plan)
        text = json.dumps(values, indent=1).encode() + b"\n"
        try:
            parts.path.mkdir()
            with self._cleared_away(run.id, parts):
                with publish(parts.plan) as file:
                    file.write(text)
                link(parts.plan, self.path)
                sync_folder(self.path.parent)
        except FileExistsError:  # another process was faster
            return
        except OSError as error:
            raise UserError(f"{self.path}: cannot be made: {reason(error, self.path)}") from error
        finally:
            if not self.is_of(run.id):  # the content tells: NFS may make a link and report a failure
                parts.discard()

    @contextmanager
    def _cleared_away(self, plan_id: str, parts: Parts) -> Iterator[None]:
        """Suppress errors where another process has removed the folder of parts, and this run has not begun."""
        try:
            yield
        except (OSError, UserError):
            if not self.path.parent.exists() or parts.path.exists() or self.is_of(plan_id):
                raise

    def remove_half(self) -> None:
        """Removes the beginning of a copy, if its process was killed while it wrote it; waits if it is at work."""
        if self._is_half(self._content()):
            remove_half_written(self.path, lambda content: not self._is_half(content))

    def _is_half(self, content: bytes | None) -> bool:
        plans = self.path.parent.glob("parts-*/_plan.json")
        return content is not None and any(_begins(path, content) for path in plans)

    def _content(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except OSError:
            return None


def _begins(path: Path, content: bytes) -> bool:
    """Returns whether a file begins with this content, and has more."""
    try:
        return len(content) < path.stat().st_size and path.read_bytes().startswith(content)
    except OSError:
        return False
