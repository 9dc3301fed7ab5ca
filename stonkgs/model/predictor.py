"""Batch -> probabilities: the one place where a model and a store meet."""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from stonkgs.batch import Batch
from stonkgs.encode.encoder import Encoder
from stonkgs.encode.nodes import Found
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model.decision import chosen, names
from stonkgs.model.digest import model_digest
from stonkgs.model.network import Inputs, Network
from stonkgs.model.rater import Rater
from stonkgs.rows.rows import Row, frame_rows, is_frame, role_names, windows
from stonkgs.rows.windows import encode_windows
from stonkgs.statement import OnRejected, Rejection, Statement

#: Columns beside the probabilities, where a DataFrame is asked for.
BESIDE = ("prediction", "source_known", "target_known", "text_truncated")


@dataclass(slots=True)
class Prediction:
    """A statement and what the model makes of it."""

    statement: Statement
    #: the most probable class; of a multi-label model all of 0.5 and more, joined by `|`
    prediction: str
    #: class name -> probability
    probabilities: dict[str, float]
    #: whether the nodes have an embedding
    source_known: bool
    target_known: bool
    #: whether the sentence was longer than the model reads
    text_truncated: bool


class Predictor(Rater):
    """A model with its store, loaded once. The Lightning module and any outside engine call it with batches.

    Both may be given as paths. A model that is loaded here goes to `device`, by default to a GPU where there is one; a
    model that is given stays where it is. Raises UserError where the store is not the model's, unless `any_kge`: then
    only what cannot work is refused.
    """

    def __init__(
        self,
        model: Network | str | os.PathLike[str],
        kge: KgeStore | str | os.PathLike[str],
        *,
        any_kge: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        if not isinstance(model, Network):
            model = Network.from_pretrained(os.fspath(model))
            device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.kge = kge if isinstance(kge, KgeStore) else KgeStore(path=kge)
        _check_fit(model, self.kge)
        if not any_kge:
            _check_same(model, self.kge)
        self.model = model.to(device) if device else model
        # What the model asks for; and which nodes are known, which every output tells.
        self._asked = {**model.inputs(self.kge), "nodes": model.nodes(self.kge)}

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities; none for a model that was only pre-trained."""
        return self.model.config.labels

    @property
    def multi_label(self) -> bool:
        """Whether a row may be of several classes."""
        return self.model.config.multi_label

    @property
    def digest(self) -> str:
        """A hash of the model's configuration, tokenizer and weights as they are now; the store has its own."""
        return model_digest(self.model)

    @property
    def module(self) -> Network:
        """The model."""
        return self.model

    def encoder(self) -> Encoder:
        """What turns statements into this model's examples."""
        return Encoder(self._asked)

    def predict_iter(
        self,
        rows: Iterable[Row],
        *,
        columns: Mapping[str, str] | None = None,
        on_rejected: OnRejected | None = None,
        size: int = 32,
        window: int = 256,
        num_workers: int = 0,
    ) -> Generator[Prediction, None, None]:
        """Predict any iterable of dictionaries, (source, target, evidence) tuples or Statements, as it goes.

        An INDRA statement, or its JSON, is taken too: its rows follow each other, and `extra` of each tells its hash.

        Holds one window of rows, which is sorted by length and predicted in batches of `size`; results come in the
        order of the rows. `window=1` answers each row before the next one is asked for. `columns` gives the rows' own
        names of source, target and evidence, where they have any. A row that cannot be used ends it in a UserError,
        when all rows before it are out; with `on_rejected`, for example a list's append, that is called and the rest
        goes on. With `num_workers` processes encode windows ahead, as many as there are processes, which pays beside
        a GPU; they end with the generator.
        """
        if not self.labels:
            raise UserError("a pre-trained model without a classifier predicts nothing; fine-tune it first")
        if len(set(self.labels)) < len(self.labels):
            raise UserError(f"several classes have one name: {list(self.labels)}; load the model with other labels=")
        for name, value, least in (("size", size, 1), ("window", window, 1), ("num_workers", num_workers, 0)):
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise UserError(f"{name}={value!r}: must be a whole number of {least} or more")
        role_names(columns)  # what is wrong with it is said now, not when the first row is asked for
        source = frame_rows(rows, columns) if is_frame(rows) else _iterated(rows)
        return self._predict(windows(source, size=window, columns=columns, on_rejected=on_rejected), size, num_workers)

    def predict(
        self,
        rows: Any,
        *,
        columns: Mapping[str, str] | None = None,
        on_rejected: OnRejected | None = None,
        size: int = 32,
        window: int = 256,
        num_workers: int = 0,
    ) -> Any:
        """`predict_iter`, kept: a list of Predictions, or for a pandas DataFrame a new one with the results' columns.

        The new DataFrame has the old one's columns and index, without rejected rows.
        """
        rejected: set[int | None] = set()

        def note(rejection: Rejection) -> None:
            rejected.add(rejection.row)
            if on_rejected:
                on_rejected(rejection)

        if is_frame(rows):
            _check_free(rows, self.labels)
        options: dict[str, Any] = {"columns": columns, "size": size, "window": window, "num_workers": num_workers}
        found = list(self.predict_iter(rows, on_rejected=note if on_rejected else None, **options))
        if not is_frame(rows):
            return found
        return _as_frame(rows.iloc[[n for n in range(len(rows)) if n + 1 not in rejected]], found, self.labels)

    def _predict(
        self, read: Iterator[list[Statement]], size: int, num_workers: int
    ) -> Generator[Prediction, None, None]:
        with closing(encode_windows(read, self.encoder(), size=size, num_workers=num_workers)) as pairs:
            for statements, batches in pairs:
                results: dict[int, Prediction] = {}
                for batch in batches:
                    results.update(self._predictions(batch, statements))
                yield from (results[position] for position in range(len(statements)))

    def _predictions(self, batch: Batch, statements: list[Statement]) -> Iterator[tuple[int, Prediction]]:
        """(position, Prediction) of each row of a batch."""
        probabilities = self(batch).cpu().numpy()
        said = names(chosen(probabilities, multi_label=self.multi_label), self.labels)
        known = batch.found != Found.UNKNOWN
        for row, position in enumerate(batch.positions.tolist()):
            values = dict(zip(self.labels, probabilities[row].tolist(), strict=True))
            flags = (*known[row].tolist(), bool(batch.truncated[row]))
            yield position, Prediction(statements[position], said[row], values, *flags)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """Probabilities, float32 [B, classes], on the model's device."""
        if not len(batch):
            return torch.zeros(0, len(self.labels))
        with _evaluating(self.model):
            probabilities = self.probabilities(self.model(self.inputs(batch)))
        if not torch.isfinite(probabilities).all():
            raise UserError(
                f"the model gives values that are not numbers: its weights, or the vectors of {self.kge.path}, "
                "are damaged; fetch or build them again"
            )
        return probabilities

    def probabilities(self, logits: Tensor) -> Tensor:
        """What logits [B, classes] mean, float32: those of a row sum to 1, or each is for itself (multi-label)."""
        config = self.model.config
        logits = logits.float() / config.temperature
        return torch.sigmoid(logits) if config.multi_label else torch.softmax(logits, dim=-1)

    def inputs(self, batch: Batch) -> Inputs:
        """What the model reads of a batch, on its device."""
        weight = next(self.model.parameters())
        return {name: self._asked[name].tensors(arrays, weight) for name, arrays in batch.inputs.items()}


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """A model that is being trained predicts without dropout, and is then as it was."""
    training = [module for module in model.modules() if module.training] if model.training else []
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _iterated(rows: Any) -> Iterable[Row]:
    if isinstance(rows, str | bytes | Mapping | Statement) or not isinstance(rows, Iterable):
        raise UserError(
            f"rows are a {type(rows).__name__}; give a list, a generator or a DataFrame of them, [row] for one alone"
        )
    return rows


def _as_frame(frame: Any, predictions: list[Prediction], labels: tuple[str, ...]) -> Any:
    """A DataFrame's rows with their predictions beside them."""
    columns: dict[str, list[Any]] = {label: [found.probabilities[label] for found in predictions] for label in labels}
    for name in BESIDE:
        columns[name] = [getattr(found, name) for found in predictions]
    return frame.assign(**columns)


def _check_free(frame: Any, labels: tuple[str, ...]) -> None:
    """Before the work: UserError where an output column would hide one of the DataFrame's, or another."""
    if taken := sorted({*labels, *BESIDE} & set(frame.columns)):
        raise UserError(f"the data frame has columns {taken}, which are output columns too: rename or drop them")
    if clash := sorted({*labels} & {*BESIDE}):
        raise UserError(f"the model has classes {clash}, which are output columns too; load it with other labels=")


def _check_fit(model: Network, kge: KgeStore) -> None:
    config = model.config
    for what, has, wants in (
        ("vectors of dimension", kge.dimension, config.dimension),
        ("walks of length", kge.walk_length, config.walk_length),
    ):
        if has != wants:
            raise UserError(f"{kge.path}: {what} {has}, but the model reads {wants}: this is another model's store")
    if config.legacy_node_shift and kge.nodes <= 103:
        raise UserError(f"{kge.path}: {kge.nodes} nodes; a published checkpoint numbers its nodes past 103")


def _check_same(model: Network, kge: KgeStore) -> None:
    config = model.config
    if config.kge_nodes not in (None, kge.nodes):
        raise UserError(
            f"{kge.path}: {kge.nodes:,} nodes, but the model was trained with {config.kge_nodes:,}. "
            "Give the store that belongs to it, or insist with any_kge=true"
        )
    if config.kge_digest not in (None, kge.digest):
        raise UserError(
            f"{kge.path}: digest {kge.digest[:12]}, but the model was trained with {config.kge_digest[:12]}. "
            "Give the store that belongs to it, or insist with any_kge=true"
        )
