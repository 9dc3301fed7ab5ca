"""plan_only=true: what a run would meet and how long it would take, from a sample, before anything is written."""

import random
import time
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from stonkgs.batch import Batch, window_batches
from stonkgs.encode.encoder import Encoder
from stonkgs.encode.nodes import Found
from stonkgs.errors import duration
from stonkgs.model.predictor import Predictor
from stonkgs.source.base import Reader
from stonkgs.source.split import Plan
from stonkgs.statement import Statement

#: Splits that are looked into, spread over the input, and rows that are encoded of each.
SPLITS, ROWS = 8, 256
#: The model is timed for about this long.
SECONDS = 10.0


@dataclass(slots=True)
class Survey:
    """What was found in a sample; times are seconds."""

    plan: Plan
    #: records of the sampled splits, those rejected, and the bytes (rows of Parquet) of these splits
    records: int = 0
    rejected: int = 0
    extent: int = 0
    reading: float = 0.0
    #: rows that were encoded
    encoded: int = 0
    encoding: float = 0.0
    #: rows that the model has read
    predicted: int = 0
    predicting: float = 0.0
    sources_known: int = 0
    targets_known: int = 0
    truncated: int = 0
    #: processes that would read and encode beside the model
    workers: int = 0
    batches: list[Batch] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Records in all: known, or by the sampled splits' share of the input."""
        if self.plan.rows is not None:
            return self.plan.rows
        total = int((self.plan.stop - self.plan.start).sum())
        return round(self.records * total / max(self.extent, 1))

    @property
    def seconds(self) -> float:
        """Of the whole run: the model's time, and that of reading and encoding where nobody does it beside."""
        model = self.predicting / max(self.predicted, 1)
        before = self.reading / max(self.records, 1) + self.encoding / max(self.encoded, 1)
        return self.rows * (max(model, before / self.workers) if self.workers else model + before)

    def __str__(self) -> str:
        """A row a fact."""
        about = "" if self.plan.rows is not None else "about "
        rate = self.rows / self.seconds if self.seconds else 0.0
        known = [f"{name} {_share(n, self.encoded)}" for name, n in self._known().items()]
        lines = {
            "rows": f"{about}{self.rows:,} in {len(self.plan):,} splits of {len(self.plan.files):,} files",
            "rejected": f"{_share(self.rejected, self.records)} of {self.records:,} rows read",
            "known": f"{', '.join(known)} of {self.encoded:,} rows sampled",
            "texts cut": _share(self.truncated, self.encoded),
            "time": f"about {duration(self.seconds)} at {rate:,.1f} rows/s" if self.predicted else "no row to tell by",
        }
        return "\n".join(f"{name:10} {fact}" for name, fact in lines.items()) + "\nnothing was written (plan_only=true)"

    def _known(self) -> dict[str, int]:
        return {"sources": self.sources_known, "targets": self.targets_known}


def survey(reader: Reader, encoder: Encoder, predictor: Predictor, *, size: int, workers: int) -> Survey:
    """Look into some splits of a planned source, and time the model on batches of `size` of their rows."""
    found = Survey(reader.plan, workers=workers)
    for number in spread(len(reader.plan), SPLITS):
        _encode(_read(reader, number, found), encoder, size, found)
    _predict(predictor, found)
    return found


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


def _read(reader: Reader, number: int, found: Survey) -> list[Statement]:
    """The first ROWS usable records of a split, all of which is read and counted."""
    split = reader.plan[number]
    statements: list[Statement] = []
    records = reader.read(split)
    first = list(islice(records, 1))
    # What is packed is unpacked up to here; a run passes through it once, and reads it as it goes.
    started = time.perf_counter()
    for record in chain(first, records):
        found.records += 1
        if not isinstance(record, Statement):
            found.rejected += 1
        elif len(statements) < ROWS:
            statements.append(record)
    found.reading += time.perf_counter() - started
    found.extent += split.stop - split.start
    return statements


def _encode(statements: list[Statement], encoder: Encoder, size: int, found: Survey) -> None:
    started = time.perf_counter()
    batches = list(window_batches(statements, encoder, size=size))
    found.encoding += time.perf_counter() - started
    found.encoded += len(statements)
    for batch in batches:
        sources, targets = (batch.found != Found.UNKNOWN).sum(axis=0).tolist()
        found.sources_known, found.targets_known = found.sources_known + sources, found.targets_known + targets
        found.truncated += int(batch.truncated.sum())
    found.batches += batches


def _predict(predictor: Predictor, found: Survey) -> None:
    """Time the model on batches of all lengths, the first of them before the clock starts."""
    random.Random(0).shuffle(found.batches)
    if found.batches:
        predictor(found.batches[0]).cpu()
    for batch in found.batches:
        started = time.perf_counter()
        predictor(batch).cpu()
        found.predicting += time.perf_counter() - started
        found.predicted += len(batch)
        if found.predicting > SECONDS:
            break
    found.batches.clear()


def _share(count: int, of: int) -> str:
    return f"{count / max(of, 1):.1%}"
