"""Answers rows in memory, such as those of a notebook: in their order, as they are read."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from numbers import Integral
from typing import Any, TypedDict, TypeVar

from stonkgs.batch import Batch
from stonkgs.config.values import check
from stonkgs.encode.encoder import Encoder
from stonkgs.encode.nodes import Found
from stonkgs.errors import UserError
from stonkgs.indra.convert import Complexes
from stonkgs.model.answer import Responder
from stonkgs.rows.rows import Row, frame_rows, is_frame, role_names, windows
from stonkgs.rows.windows import encode_windows
from stonkgs.statement import OnRejected, Rejection, Statement

T = TypeVar("T")

#: Yields an answer for each row of a batch, with the row's place among the statements of its window.
Answers = Callable[[Batch, Sequence[Statement]], Iterator[tuple[int, T]]]


class RowOptions(TypedDict, total=False):
    """How rows in memory are read: `Predictor.predict_iter` says what each means."""

    columns: Mapping[str, str] | None
    on_rejected: OnRejected | None
    complexes: Complexes
    size: int
    window: int
    num_workers: int


#: The columns that a resulting DataFrame has beside the answers: the fields of every answer that `flags` gives.
FLAG_COLUMNS = ("source_known", "target_known", "text_truncated")


def flags(batch: Batch) -> list[tuple[bool, bool, bool, bool | None]]:
    """Returns for each row of a batch whether its nodes are in the store, its text was cut, and its relation is known.

    The last is None where no relation is read.
    """
    known, relations = (batch.found != Found.UNKNOWN).tolist(), batch.relations_known
    told = [None] * len(batch) if relations is None else relations.tolist()
    return [(*nodes, *rest) for nodes, *rest in zip(known, batch.truncated.tolist(), told, strict=True)]


def answer_iter(
    rows: Iterable[Row],
    responder: Responder,
    answers: Answers[T],
    *,
    columns: Mapping[str, str] | None = None,
    on_rejected: OnRejected | None = None,
    complexes: Complexes = "skip",
    size: int = 32,
    window: int = 256,
    num_workers: int = 0,
) -> Generator[T, None, None]:
    """Yields an answer for each row, in their order, of batches as the responder reads them.

    Raises UserError for wrong options at once.
    """
    for name, value, least in (("size", size, 1), ("window", window, 1), ("num_workers", num_workers, 0)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise UserError(f"{name}={value!r}: must be a whole number of {least} or more")
    check("complexes", complexes, Complexes)
    role_names(columns)  # raises its errors now, not when the first row is read
    reads = responder.reads
    source = frame_rows(rows, columns, reads) if is_frame(rows) else _iterated(rows)
    read = windows(source, size=window, columns=columns, on_rejected=on_rejected, complexes=complexes, reads=reads)
    return _in_order(read, responder.encoder(), answers, size, num_workers)


def _in_order(
    read: Iterator[list[Statement]], encoder: Encoder, answers: Answers[T], size: int, num_workers: int
) -> Generator[T, None, None]:
    with closing(encode_windows(read, encoder, size=size, num_workers=num_workers)) as pairs:
        for statements, batches in pairs:
            results: dict[int, T] = {}
            for batch in batches:
                results.update(answers(batch, statements))
            yield from (results[position] for position in range(len(statements)))


def answer_all(rows: Any, iterate: Callable[..., Iterable[T]], options: RowOptions) -> tuple[list[T], Any]:
    """Returns the answers that `iterate` gives, and the rows of a DataFrame that were not rejected, None of other rows.

    `iterate` is called with the rows and the options.
    """
    on_rejected = options.get("on_rejected")
    rejected: set[int | None] = set()

    def note(rejection: Rejection) -> None:
        rejected.add(rejection.row)
        if on_rejected:
            on_rejected(rejection)

    found = list(iterate(rows, **{**options, "on_rejected": note if on_rejected else None}))
    kept = rows.iloc[[n for n in range(len(rows)) if n + 1 not in rejected]] if is_frame(rows) else None
    return found, kept


def check_free(frame: Any, names: Iterable[str]) -> None:
    """Raises UserError if an output column has the name of one of the DataFrame's."""
    if taken := sorted({*names} & set(frame.columns)):
        raise UserError(f"the data frame has columns {taken}, which are output columns too: rename or drop them")


def _iterated(rows: Any) -> Iterable[Row]:
    if isinstance(rows, str | bytes | Mapping | Statement) or not isinstance(rows, Iterable):
        raise UserError(
            f"rows are a {type(rows).__name__}; give a list, a generator or a DataFrame of them, [row] for one alone"
        )
    return rows
