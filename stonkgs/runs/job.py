"""Describes the run to its writer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stonkgs.model.answer import Answer
from stonkgs.runs.record import RunRecord
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection


@dataclass(slots=True)
class Job:
    """What a writer has to know about the run that it writes."""

    output_dir: Path
    plan: Plan
    #: what is computed for each row
    answer: Answer
    #: file -> number, from 1, of its first line below the header: `Source.first_line`
    first_line: Callable[[str], int]
    #: what decides the result, and what else run.json says of the run
    record: RunRecord
    #: values that a new run takes for what its identity leaves open: see `RunFolder.begin`
    defaults: Mapping[str, Any] = field(default_factory=dict)
    #: called with each rejected row before its split is committed; may raise
    on_rejected: Callable[[Rejection], None] | None = None
    #: True: join the parts to one file at the end; False: leave them as they are
    merge: bool = True
    #: called before the parts are joined; raises UserError where the input is no longer what it was
    check_input: Callable[[], object] = lambda: None
    #: called before a split is committed, too; raises UserError where somebody has written to the model or the store
    check_files: Callable[[], object] = lambda: None
