"""Joins the parts of a run to its result, when all splits are committed and every part is what was written."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stonkgs.disk import publish
from stonkgs.errors import UserError
from stonkgs.runs.account import Account
from stonkgs.runs.finished import FinishedRun
from stonkgs.runs.folder import RunFolder
from stonkgs.runs.job import Job
from stonkgs.runs.plan_file import UnfinishedRun
from stonkgs.runs.record import now
from stonkgs.runs.stamp import Stamp, Stamped

#: Writes one file of all parts, in order, which have so many rows together.
Join = Callable[[Iterator[Path], int, Any], None]


class DamagedPartsError(UserError):
    """Committed parts are not what was written, and have to be done again."""


class Joining:
    """The last steps of a run, which one of its processes takes, under a lock."""

    def __init__(self, run: UnfinishedRun, job: Job, folder: RunFolder, joins: Mapping[str, Join]) -> None:
        self.run = run
        self.job = job
        self.folder = folder
        self.parts = folder.parts(run.id)
        #: name of a result -> what writes it
        self.joins = joins
        #: the splits that were damaged, and are done again by this process
        self._again: set[int] = set()

    def finish(self) -> FinishedRun:
        """Joins the parts, or waits for the process that does; returns the finished run. Raises DamagedPartsError."""
        folder, plan_id = self.folder, self.run.id
        with folder.locked():
            if folder.is_current(plan_id):
                if not folder.is_joined(plan_id):
                    self.job.check_input()
                    self.job.check_files()
                    self._check_parts()
                    self._join()
                folder.seal(plan_id)
        finished = folder.finished()
        if finished is None or finished.plan != plan_id:
            raise UserError(f"{folder.path}: another run was started here meanwhile (overwrite=true)")
        return finished

    def _check_parts(self) -> None:
        """Raises DamagedPartsError where a part is not what was written; it is set aside, and is not committed then."""
        count, parts = len(self.job.plan), self.parts
        damaged = [split for split in np.flatnonzero(parts.listed(count)).tolist() if not parts.is_sound(split)]
        if not parts.path.exists():
            self.folder.check_parts(self.run.id)
            return  # without locks, another process may have joined them meanwhile
        if twice := self._again.intersection(damaged):
            raise UserError(f"{parts.rows(min(twice))}: is not what was written, again: the disk may be failing")
        for split in damaged:
            parts.set_aside(split)
        self._again.update(damaged)
        missing = np.flatnonzero(~parts.listed(count)).tolist()
        if missing and all(map(parts.was_set_aside, missing)):
            raise DamagedPartsError(
                f"{parts.path}: {len(missing):,} parts were damaged since they were written; the same command does "
                "them again"
            )
        if missing:
            first = self.job.plan[missing[0]]
            raise RuntimeError(f"{first.file}: split {first.number} of {count} was not predicted")

    def _join(self) -> None:
        """Joins all files inside the folder of parts, which takes time, and then renames them to their places."""
        plan, folder, parts = self.job.plan, self.folder, self.parts
        try:
            rejected = folder.rejected
            stamps: dict[str, Stamp] = {}
            with self._stamped(rejected.name, stamps) as file:
                accounts = ((int(plan.file[split]), parts.account(split)) for split in range(len(plan)))
                total = Account.join(accounts, [self.job.first_line(name) for name in plan.files], file)
            useful = bool(total.predicted or not total.rejected)
            joins = self.joins if useful and self.job.merge else {}
            for name, join in joins.items():
                with self._stamped(name, stamps) as file:
                    join((parts.rows(split) for split in range(len(plan))), total.predicted, file)
            if useful and not joins:
                stamps[folder.kept.name] = parts.stamp(len(plan))
            names = [*joins] or [folder.kept.name] * useful
            folder.retract(self.run.id, names)
            for name in (rejected.name, *joins):
                (parts.path / name).replace(folder.path / name)
            finished = FinishedRun(
                record=self.run.record,
                plan=self.run.id,
                finished=now(),
                splits=len(plan),
                account=total,
                predictions=names[0] if names else None,
                stamps=stamps,
                done_again=parts.set_aside_count(),
            )
            folder.write_record(finished, parts)
        except (FileNotFoundError, UserError):
            if not folder.is_joined(self.run.id):  # without locks, another process may have joined them meanwhile
                raise

    @contextmanager
    def _stamped(self, name: str, stamps: dict[str, Stamp]) -> Iterator[Any]:
        """Write a file in the folder of parts; afterwards `stamps` has its stamp."""
        with publish(self.parts.path / name, lasting=False) as file:
            stamped = Stamped(file)
            yield stamped
            stamps[name] = stamped.stamp
