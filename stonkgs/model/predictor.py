"""The Predictor: a model with its store, which turns batches or rows in memory into probabilities."""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from stonkgs.batch import Batch
from stonkgs.config.values import check
from stonkgs.encode.encoder import Encoder
from stonkgs.encode.nodes import Found
from stonkgs.errors import UserError
from stonkgs.indra.convert import Complexes
from stonkgs.kge.lineage import lineage_of
from stonkgs.kge.store import KgeStore
from stonkgs.model.decision import class_names, predicted_classes, probabilities
from stonkgs.model.digest import model_digest
from stonkgs.model.network import Inputs, Network, check_walks
from stonkgs.model.rater import Rater
from stonkgs.model.weights import first_sentence
from stonkgs.rows.rows import Row, frame_rows, is_frame, role_names, windows
from stonkgs.rows.windows import encode_windows
from stonkgs.statement import OnRejected, Rejection, Statement

#: The columns that a resulting DataFrame has beside the probabilities.
RESULT_COLUMNS = ("prediction", "source_known", "target_known", "text_truncated")


@dataclass(slots=True)
class Prediction:
    """A statement and the model's prediction for it."""

    statement: Statement
    #: the most probable class; for a multi-label model all classes of 0.5 or more, joined by `|`
    prediction: str
    #: class name -> probability
    probabilities: dict[str, float]
    #: whether the nodes are in the store
    source_known: bool
    target_known: bool
    #: whether the sentence was longer than the model reads
    text_truncated: bool
    #: whether the relation is in the store; None if the model reads no relation
    relation_known: bool | None = None


class Predictor(Rater):
    """A model with its store. The Lightning module, or any other engine, calls it with batches.

    Both may be paths. A model that is loaded here goes to `device`, by default to a GPU if there is one; a model object
    stays on its device unless `device` is given. Raises UserError if the model was trained with another store, and not
    with one that this has grown from. With `any_kge`, only a store that cannot work is refused.
    """

    has_logits: ClassVar[bool] = True

    def __init__(
        self,
        model: Network | str | os.PathLike[str],
        kge: KgeStore | str | os.PathLike[str],
        *,
        any_kge: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        if not isinstance(model, Network):
            if not isinstance(model, str | os.PathLike):
                raise UserError(f"a {type(model).__name__} is no model that predicts; give a Network, or its folder")
            model = Network.from_pretrained(os.fspath(model))
            device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.kge = kge if isinstance(kge, KgeStore) else KgeStore(path=kge)
        _check_fit(model, self.kge)
        if not any_kge:
            _check_same(model, self.kge)
        self.model = model if device is None else _moved(model, device)
        # Nodes are looked up for every model, because every output says whether they are known.
        self._inputs = {**model.inputs(self.kge), "nodes": model.nodes(self.kge)}

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities; empty for a model that is only pre-trained."""
        return self.model.config.labels

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several classes."""
        return self.model.config.multi_label

    @property
    def digest(self) -> str:
        """SHA-256 of the model's current configuration, tokenizer and weights. The store has its own digest."""
        return model_digest(self.model)

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns of rows that the model reads beside source, target and evidence, and the key that names each."""
        return self.model.columns

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are mapped into memory: the store, and the weights if they were read from files."""
        return (Path(self.kge.path), *self.model.files)

    @property
    def module(self) -> Network:
        """The model."""
        return self.model

    def encoder(self) -> Encoder:
        """Returns the encoder that turns statements into this model's examples."""
        return Encoder(self._inputs)

    def predict_iter(
        self,
        rows: Iterable[Row],
        *,
        columns: Mapping[str, str] | None = None,
        on_rejected: OnRejected | None = None,
        complexes: Complexes = "skip",
        size: int = 32,
        window: int = 256,
        num_workers: int = 0,
    ) -> Generator[Prediction, None, None]:
        """Yields predictions for an iterable of dictionaries, (source, target, evidence) tuples or Statements.

        INDRA statements, or their JSON, are read too: each gives a row per evidence, with the statement's hash in
        `extra`. A Complex has no direction and gives no row; with `complexes="pairs"`, as with the command line's
        source.complexes=pairs, each two of its members are an edge. A DataFrame is read row by row.

        Rows are read in windows of `window`, sorted by length and predicted in batches of `size`. Results come in the
        order of the rows. With `window=1`, each row is answered before the next one is read. `columns` maps source,
        target and evidence to the rows' own names for them. A row that cannot be used raises UserError after all rows
        before it were yielded; with `on_rejected` (for example a list's append), that is called instead. With
        `num_workers`, as many processes encode windows ahead, which pays off beside a GPU; they end with the generator.
        """
        if not self.labels:
            raise UserError("a pre-trained model without a classifier predicts nothing; fine-tune it first")
        if len(set(self.labels)) < len(self.labels):
            raise UserError(f"several classes have one name: {list(self.labels)}; load the model with other labels=")
        for name, value, least in (("size", size, 1), ("window", window, 1), ("num_workers", num_workers, 0)):
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise UserError(f"{name}={value!r}: must be a whole number of {least} or more")
        check("complexes", complexes, Complexes)
        role_names(columns)  # raises its errors now, not when the first row is read
        source = frame_rows(rows, columns, self.columns) if is_frame(rows) else _iterated(rows)
        read = windows(
            source, size=window, columns=columns, on_rejected=on_rejected, complexes=complexes, reads=self.columns
        )
        return self._predict(read, size, num_workers)

    def predict(
        self,
        rows: Any,
        *,
        columns: Mapping[str, str] | None = None,
        on_rejected: OnRejected | None = None,
        complexes: Complexes = "skip",
        size: int = 32,
        window: int = 256,
        num_workers: int = 0,
    ) -> Any:
        """Returns a list of Predictions, or for a pandas DataFrame a new one with the results as further columns.

        The new DataFrame keeps columns and index, without rejected rows. Arguments and errors as for `predict_iter`.
        """
        rejected: set[int | None] = set()

        def note(rejection: Rejection) -> None:
            rejected.add(rejection.row)
            if on_rejected:
                on_rejected(rejection)

        if is_frame(rows):
            _check_free(rows, self.labels)
        noted = note if on_rejected else None
        options: dict[str, Any] = {"columns": columns, "size": size, "window": window, "num_workers": num_workers}
        found = list(self.predict_iter(rows, on_rejected=noted, complexes=complexes, **options))
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
        """Yields (position, Prediction) for each row of a batch."""
        probabilities = self(batch).cpu().numpy()
        classes = class_names(predicted_classes(probabilities, multi_label=self.multi_label), self.labels)
        known = batch.found != Found.UNKNOWN
        for row, position in enumerate(batch.positions.tolist()):
            values = dict(zip(self.labels, probabilities[row].tolist(), strict=True))
            flags = (*known[row].tolist(), bool(batch.truncated[row]))
            found = Prediction(statements[position], classes[row], values, *flags)
            if batch.relations_known is not None:
                found.relation_known = bool(batch.relations_known[row])
            yield position, found

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """Returns probabilities, float32 [B, classes], on the model's device. Raises UserError if one is not finite."""
        return self._finite(self.probabilities(self._rated(batch)))

    @torch.inference_mode()
    def logits(self, batch: Batch) -> Tensor:
        """Returns logits, float32 [B, classes], on the model's device. Raises UserError if one is not finite."""
        return self._finite(self._rated(batch).float())

    def _rated(self, batch: Batch) -> Tensor:
        if not len(batch):
            return torch.zeros(0, len(self.labels))
        with _evaluating(self.model):
            logits: Tensor = self.model(self.inputs(batch))
        return logits

    def _finite(self, values: Tensor) -> Tensor:
        if not torch.isfinite(values).all():
            raise UserError(
                f"the model gives values that are not numbers: its weights, or the vectors of {self.kge.path}, "
                "are damaged; fetch or build them again"
            )
        return values

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns the probabilities, float32, of logits [B, classes]: a softmax, or in multi-label models a sigmoid."""
        config = self.model.config
        logits = logits.float() / config.temperature
        return probabilities(logits, multi_label=config.multi_label)

    def inputs(self, batch: Batch) -> Inputs:
        """Returns what the model reads of a batch, on its device."""
        weight = next(self.model.parameters())
        return {name: self._inputs[name].tensors(arrays, weight) for name, arrays in batch.inputs.items()}


def _moved(model: Network, device: str | torch.device) -> Network:
    """Returns the model on a device. Raises UserError if there is no such device, or no room on it."""
    there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))])
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"device={device}: is no device; here there is {there}") from error
    try:
        if wanted.type == "meta":
            raise RuntimeError("it holds no numbers")
        return model.to(wanted)
    except (AssertionError, RuntimeError, NotImplementedError) as error:  # as torch has it, by the kind of device
        reason = first_sentence(error).rstrip(".")
        raise UserError(f"device={device}: cannot be used: {reason}; here there is {there}") from error


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Switch a model that is being trained to eval mode, and back afterwards."""
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
    """Returns the DataFrame with the predictions as further columns."""
    columns: dict[str, list[Any]] = {label: [found.probabilities[label] for found in predictions] for label in labels}
    for name in RESULT_COLUMNS:
        columns[name] = [getattr(found, name) for found in predictions]
    return frame.assign(**columns)


def _check_free(frame: Any, labels: tuple[str, ...]) -> None:
    """Raises UserError if an output column has the name of one of the DataFrame's, or of another output column."""
    if taken := sorted({*labels, *RESULT_COLUMNS} & set(frame.columns)):
        raise UserError(f"the data frame has columns {taken}, which are output columns too: rename or drop them")
    if clash := sorted({*labels} & {*RESULT_COLUMNS}):
        raise UserError(f"the model has classes {clash}, which are output columns too; load it with other labels=")


def _check_fit(model: Network, kge: KgeStore) -> None:
    """Raises UserError if the model cannot work with the store."""
    config = model.config
    sizes = [("vectors of dimension", kge.dimension, config.dimension)]
    if model.reads_walks:
        check_walks(kge)
        sizes.append(("walks of length", kge.walk_length, config.walk_length))
    for what, has, wants in sizes:
        if has != wants:
            raise UserError(f"{kge.path}: {what} {has}, but the model reads {wants}: this is another model's store")
    if config.legacy_node_shift and kge.nodes <= 103:
        raise UserError(f"{kge.path}: {kge.nodes} nodes; a published checkpoint numbers its nodes past 103")


def _check_same(model: Network, kge: KgeStore) -> None:
    """Raises UserError if the model was trained with another store, and not with one that this has grown from."""
    config, lineage = model.config, lineage_of(kge.header.origin)
    if lineage.ancestors and lineage.legacy_node_shift != config.legacy_node_shift:
        how = "with" if config.legacy_node_shift else "without"
        raise UserError(
            f"{kge.path}: has grown for other models, which read vectors of other nodes than this one. "
            f"Grow it {how} --legacy-node-shift, or insist with any_kge=true"
        )
    if lineage.has(digest=config.kge_digest, nodes=config.kge_nodes):
        return
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
