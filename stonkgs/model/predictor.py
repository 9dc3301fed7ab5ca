"""The Predictor: a model with its store, which turns batches or rows in memory into probabilities."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from stonkgs.batch import Batch
from stonkgs.errors import UserError
from stonkgs.indra.convert import Complexes
from stonkgs.model.answer import EMBEDDING, PREDICTION
from stonkgs.model.decision import class_names, predicted_classes, probabilities
from stonkgs.model.embedder import Embedder, Embedding, What
from stonkgs.model.loaded import Loaded
from stonkgs.model.memory import FLAG_COLUMNS, RowOptions, answer_all, answer_iter, check_free, flags
from stonkgs.model.rater import Rater
from stonkgs.rows.rows import Row, is_frame
from stonkgs.statement import OnRejected, Statement


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


class Predictor(Loaded, Rater):
    """A model with its store. The Lightning module, or any other engine, calls it with batches.

    Both may be paths. A model that is loaded here goes to `device`, by default to a GPU if there is one; a model object
    stays on its device unless `device` is given. Raises UserError if the model was trained with another store, and not
    with one that this has grown from. With `any_kge`, only a store that cannot work is refused.
    """

    has_logits: ClassVar[bool] = True

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities; empty for a model that is only pre-trained."""
        return self.model.config.labels

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several classes."""
        return self.model.config.multi_label

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
        options: RowOptions = {"columns": columns, "on_rejected": on_rejected, "complexes": complexes}
        options |= {"size": size, "window": window, "num_workers": num_workers}
        return answer_iter(rows, self, self._predictions, **options)

    def predict(self, rows: Any, **options: Unpack[RowOptions]) -> Any:
        """Returns a list of Predictions, or for a pandas DataFrame a new one with the results as further columns.

        The new DataFrame keeps columns and index, without rejected rows. Options and errors as for `predict_iter`.
        """
        if is_frame(rows):
            check_free(rows, [*self.labels, PREDICTION, *FLAG_COLUMNS])
            if clash := sorted({*self.labels} & {PREDICTION, *FLAG_COLUMNS}):
                raise UserError(
                    f"the model has classes {clash}, which are output columns too; load it with other labels="
                )
        found, kept = answer_all(rows, self.predict_iter, options)
        if kept is None:
            return found
        columns = {label: [one.probabilities[label] for one in found] for label in self.labels}
        return kept.assign(**columns, **_columns(found, (PREDICTION, *FLAG_COLUMNS)))

    def embed_iter(
        self, rows: Iterable[Row], *, what: What = "pooled", **options: Unpack[RowOptions]
    ) -> Generator[Embedding, None, None]:
        """Yields embeddings for an iterable of rows. Rows, options and errors are those of `predict_iter`.

        `what` is pooled, mean or text, as `Embedder` defines them. The model needs no classifier.
        """
        embedder = Embedder(self, what)
        return answer_iter(rows, embedder, embedder.rows, **options)

    def embed(self, rows: Any, *, what: What = "pooled", **options: Unpack[RowOptions]) -> Any:
        """Returns a list of Embeddings, or for a pandas DataFrame a new one with further columns.

        These are `embedding`, a float32 array [H] in each row, and whether the nodes are known and the text was cut.
        The new DataFrame keeps columns and index, without rejected rows. Options and errors as for `predict_iter`.
        """
        if is_frame(rows):
            check_free(rows, [EMBEDDING, *FLAG_COLUMNS])
        found, kept = answer_all(rows, partial(self.embed_iter, what=what), options)
        return found if kept is None else kept.assign(**_columns(found, (EMBEDDING, *FLAG_COLUMNS)))

    def _predictions(self, batch: Batch, statements: Sequence[Statement]) -> Iterator[tuple[int, Prediction]]:
        """Yields (position, Prediction) for each row of a batch."""
        probabilities = self(batch).cpu().numpy()
        classes = class_names(predicted_classes(probabilities, multi_label=self.multi_label), self.labels)
        for row, (position, told) in enumerate(zip(batch.positions.tolist(), flags(batch), strict=True)):
            values = dict(zip(self.labels, probabilities[row].tolist(), strict=True))
            yield position, Prediction(statements[position], classes[row], values, *told)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """Returns probabilities, float32 [B, classes], on the model's device. Raises UserError if one is not finite."""
        return self.finite(self.probabilities(self._rated(batch)))

    @torch.inference_mode()
    def logits(self, batch: Batch) -> Tensor:
        """Returns logits, float32 [B, classes], on the model's device. Raises UserError if one is not finite."""
        return self.finite(self._rated(batch).float())

    def _rated(self, batch: Batch) -> Tensor:
        return self.computed(batch, self.model, len(self.labels))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns the probabilities, float32, of logits [B, classes]: a softmax, or in multi-label models a sigmoid."""
        config = self.model.config
        logits = logits.float() / config.temperature
        return probabilities(logits, multi_label=config.multi_label)


def _columns(found: Sequence[Any], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [getattr(one, name) for one in found] for name in names}
