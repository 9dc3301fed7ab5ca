"""plan_only=true: estimates from a sample what a run would find and how long it would take. Writes nothing."""

import random
import time
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from stonkgs.batch import Batch, window_batches
from stonkgs.encode.encoder import Encoder
from stonkgs.encode.nodes import Found
from stonkgs.errors import duration
from stonkgs.model.answer import Responder
from stonkgs.source.base import Reader
from stonkgs.source.split import Plan
from stonkgs.statement import Statement

#: Splits in the sample, spread evenly over the input, and rows that are encoded of each.
SPLITS, ROWS = 8, 256
#: Seconds for which the model is timed, about.
SECONDS = 10.0


@dataclass(slots=True)
class Survey:
    """What was found in the sample; times are in seconds."""

    plan: Plan
    #: processes that would read and encode beside the model
    workers: int
    #: records of the sampled splits, how many of them were rejected, and the time to read them
    records: int = 0
    rejected: int = 0
    reading: float = 0.0
    #: size of the sampled splits: bytes, or rows of Parquet
    extent: int = 0
    #: rows that were encoded, and the time
    encoded: int = 0
    encoding: float = 0.0
    #: rows that the model has answered, and the time
    predicted: int = 0
    predicting: float = 0.0
    #: encoded rows whose source, whose target is in the store, and whose text was cut
    sources_known: int = 0
    targets_known: int = 0
    #: the same of relations; None if the model reads none
    relations_known: int | None = None
    truncated: int = 0
    #: batches that the model is timed on
    batches: list[Batch] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Returns the rows of the input; an estimate by the sample's share of it, where the plan does not know them."""
        if self.plan.rows is not None:
            return self.plan.rows
        total = int((self.plan.stop - self.plan.start).sum())
        return round(self.records * total / max(self.extent, 1))

    @property
    def seconds(self) -> float:
        """Returns the time of the whole run. Workers read and encode while the model works; without them all add up."""
        model = self.predicting / max(self.predicted, 1)
        before = self.reading / max(self.records, 1) + self.encoding / max(self.encoded, 1)
        return self.rows * (max(model, before / self.workers) if self.workers else model + before)

    def __str__(self) -> str:
        """Returns a line for each fact."""
        about = "" if self.plan.rows is not None else "about "
        rate = self.rows / self.seconds if self.seconds else 0.0
        known = {"sources": self.sources_known, "targets": self.targets_known, "relations": self.relations_known}
        shares = [f"{name} {_percent(count, self.encoded)}" for name, count in known.items() if count is not None]
        lines = {
            "rows": f"{about}{self.rows:,} in {len(self.plan):,} splits of {len(self.plan.files):,} files",
            "rejected": f"{_percent(self.rejected, self.records)} of {self.records:,} rows read",
            "known": f"{', '.join(shares)} of {self.encoded:,} rows sampled",
            "texts cut": _percent(self.truncated, self.encoded),
            "time": f"about {duration(self.seconds)} at {rate:,.1f} rows/s" if self.predicted else "no row to tell by",
        }
        return "\n".join(f"{name:10} {fact}" for name, fact in lines.items()) + "\nnothing was written (plan_only=true)"


def survey(reader: Reader, encoder: Encoder, responder: Responder, *, size: int, workers: int) -> Survey:
    """Reads and encodes some splits of a planned source, and times the model on batches of `size` rows of them."""
    found = Survey(reader.plan, workers=workers)
    for number in spread(len(reader.plan), SPLITS):
        _encode(_read(reader, number, found), encoder, size, found)
    _predict(responder, found)
    return found


def spread(count: int, most: int) -> list[int]:
    """Returns at most `most` of the numbers below `count`, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


def _read(reader: Reader, number: int, found: Survey) -> list[Statement]:
    """Reads and counts all records of a split; returns the first ROWS usable ones."""
    split = reader.plan[number]
    statements: list[Statement] = []
    records = reader.read(split)
    first = list(islice(records, 1))
    # The clock starts after the first record: a packed file had to be unpacked up to here, which a run does only once.
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
        if batch.relations_known is not None:
            found.relations_known = (found.relations_known or 0) + int(batch.relations_known.sum())
    found.batches += batches


def _predict(responder: Responder, found: Survey) -> None:
    """Times the model on batches of all lengths, after one batch that is not timed."""
    random.Random(0).shuffle(found.batches)
    if found.batches:
        responder(found.batches[0]).cpu()
    for batch in found.batches:
        started = time.perf_counter()
        responder(batch).cpu()
        found.predicting += time.perf_counter() - started
        found.predicted += len(batch)
        if found.predicting > SECONDS:
            break
    found.batches.clear()


def _percent(count: int, of: int) -> str:
    return f"{count / max(of, 1):.1%}"
