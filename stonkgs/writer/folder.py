"""The folder of a run: what in it is ours, and what is not ours to touch."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stonkgs.disk import make_folder, publish
from stonkgs.errors import UserError
from stonkgs.source.split import Plan

#: The last file of a run: it is there when everything else is.
SUCCESS: Final = "_SUCCESS"
#: How run.json says that a run of ours wrote what lies beside it.
FORMAT: Final = "stonkgs-run-1"
#: What a run makes in `parts`. Readers of a folder as one data set pass over names that begin with an underscore.
_OURS = re.compile(r"_?\d{8}\.\w+(\.tmp-\d+)?|_run\.json(\.tmp-\d+)?")


class RunFolder:
    """An `output_dir`. While a run goes on, all that it writes lies in `parts`; an earlier result stays till its end.

    Nothing is deleted or replaced but what a run of ours has made, told by its run.json.
    """

    def __init__(self, path: Path, extension: str) -> None:
        self.path = path
        self.extension = extension
        self.parts = path / "parts"
        self.predictions = path / f"predictions.{extension}"
        self.rejected = path / "rejected.jsonl"
        self.record = path / "run.json"
        self.success = path / SUCCESS

    def part(self, split: int) -> Path:
        """The predictions of a split."""
        return self.parts / f"{split:08d}.{self.extension}"

    def account(self, split: int) -> Path:
        """The account and the rejected rows of a split."""
        return self.parts / f"_{split:08d}.jsonl"

    def claim(self, plan: Plan, record: dict[str, Any], *, overwrite: bool) -> None:
        """Begin a run here. UserError, and nothing touched, where this would destroy something."""
        if self.success.exists() and not overwrite:
            raise UserError(
                f"{self.path}: holds a finished run; choose another output_dir=, or replace it: overwrite=true"
            )
        self._refuse_foreign()
        self._refuse_inputs(plan)
        make_folder(self.parts)
        self._clear_parts()
        self.write_record(self.parts / "_run.json", record)

    def write_record(self, path: Path, record: dict[str, Any]) -> None:
        """Write a run.json."""
        text = json.dumps({"format": FORMAT} | record, indent=2, ensure_ascii=False, default=str)
        with publish(path) as file:
            file.write(text.encode() + b"\n")

    def retract(self) -> None:
        """Take back an earlier run's result, as this one's is complete in `parts`."""
        self.success.unlink(missing_ok=True)
        name = _read_record(self.record).get("predictions")
        if isinstance(name, str) and re.fullmatch(r"predictions\.\w+", name):
            (self.path / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the parts."""
        self._clear_parts()
        if not any(self.parts.iterdir()):
            self.parts.rmdir()

    def _refuse_foreign(self) -> None:
        if self.parts.is_symlink() or (self.parts.exists() and not self.parts.is_dir()):
            raise UserError(f"{self.parts}: is no folder of ours; choose another output_dir=")
        begun = (self.parts / "_run.json").is_file()
        if begun or _read_record(self.record):
            return
        taken = [path.name for path in (self.predictions, self.rejected, self.record, self.parts) if path.exists()]
        if taken:
            raise UserError(f"{self.path}: holds {', '.join(taken)}, which no run wrote; choose another output_dir=")

    def _refuse_inputs(self, plan: Plan) -> None:
        mine = {path.resolve() for path in (self.predictions, self.rejected, self.record)}
        for file in map(Path, plan.files):
            if file.resolve() in mine or file.resolve().parent == self.parts.resolve():
                raise UserError(f"{file}: the run would replace its own input; choose another output_dir=")

    def _clear_parts(self) -> None:
        for path in self._our_parts():
            path.unlink(missing_ok=True)

    def _our_parts(self) -> Iterator[Path]:
        for path in self.parts.iterdir():
            if _OURS.fullmatch(path.name) and path.is_file():
                yield path


def _read_record(path: Path) -> dict[str, Any]:
    """A run.json of ours; empty where there is none, or another's."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("format") == FORMAT else {}
