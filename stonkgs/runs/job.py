"""What is to be done: the job that a run gives to its writer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stonkgs.runs.record import Record
from stonkgs.source.split import Plan
from stonkgs.statement import Rejection


@dataclass(slots=True)
class Job:
    """What a writer has to know about the run that it writes."""

    output_dir: Path
    plan: Plan
    #: class names in the order of the probabilities
    labels: Sequence[str]
    #: number, from 1, of a file's first line below its header: `Source.first_line`
    first_line: Callable[[str], int]
    #: what decides the result, and what else run.json says of the run
    record: Record
    #: values that its identity leaves open, where this run decides them: see `RunFolder.begin`
    decided: Mapping[str, Any] = field(default_factory=dict)
    #: called with each rejected row as soon as its split is through; may raise
    on_rejected: Callable[[Rejection], None] = field(default=lambda _: None)
    #: one file in the end; else the parts stay
    merge: bool = True
    #: whether a row may be of several classes
    multi_label: bool = False
