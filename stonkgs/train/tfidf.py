"""The baseline that a transformer has to beat: TF-IDF features and logistic regression, by scikit-learn."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stonkgs.batch import Batch
from stonkgs.config import Stage
from stonkgs.config.values import Count, checked
from stonkgs.encode.encoder import Encoder
from stonkgs.errors import UserError
from stonkgs.evaluate.extras import require
from stonkgs.model.rater import Rater
from stonkgs.source.base import ROLES
from stonkgs.statement import Statement

#: A word, by scikit-learn's definition. It also finds the parts of a BEL name.
_WORD = re.compile(r"\b\w\w+\b")
#: The limit of iterations. lbfgs needs less than a hundred even for tens of thousands of rows.
_ITERATIONS = 1000


class TfIdf(Stage, Rater):
    """The baseline without a transformer: TF-IDF of words and word pairs, and a logistic regression (scikit-learn).

    It reads a batch's `columns`, and needs neither tokens nor a store. Unlike the rest of the project it holds all
    training texts in memory, with a number for each of their words and word pairs: it is for tens of thousands of rows.
    """

    #: the classes that it was trained with
    labels: tuple[str, ...] = ()
    #: whether it was trained with rows of several classes
    multi_label: bool = False

    @checked("model")
    def __init__(
        self, *, nodes: bool = False, columns: Mapping[str, str] | None = None, c: float = 10.0, min_rows: Count = 2
    ) -> None:
        #: whether it reads the names of source and target beside the evidence
        self.nodes = nodes
        #: role -> name of the input's column
        self.columns = {**{role: role for role in ROLES}, **(columns or {})}
        #: inverse of the penalty; of 1, 3 and 10 the last was best on the real corpora, and 1 misses rare classes
        self.c = c
        #: words in fewer training rows are left out
        self.min_rows = min_rows
        self._pipeline: Any = None
        #: the numbers of the classes that the pipeline predicts, int64
        self._learned = np.zeros(0, np.int64)
        #: the constant probabilities of the other classes, float32 [K]
        self._fixed: npt.NDArray[np.float32] | None = None

    def fit(
        self,
        statements: Iterable[Statement],
        targets: Iterable[int] | npt.NDArray[np.bool_],
        labels: Sequence[str],
        *,
        class_weights: Literal["balanced"] | None = None,
        seed: int = 0,
    ) -> None:
        """Learn from N statements. `targets` are N class numbers, or in a multi-label task bool [N, K].

        With "balanced" a row weighs N / (K n), where n is the number of rows of its class; in a multi-label task the
        rows with and without each class are balanced likewise. A class that no training row has gets the probability
        0, one that all have gets 1. `seed` is scikit-learn's; its solver lbfgs does not use it. Raises UserError if
        there is nothing to learn from.
        """
        require("sklearn")
        rows, given = list(statements), np.asarray(targets if isinstance(targets, np.ndarray) else list(targets))
        if not rows:
            raise UserError("TF-IDF: there are no rows to learn from")
        several = given.ndim == 2
        wanted = given.astype(bool) if several else np.eye(len(labels), dtype=bool)[given.astype(int)]
        if wanted.shape != (len(rows), len(labels)):
            raise ValueError(f"targets {list(wanted.shape)} of {len(rows)} rows and {len(labels)} classes")
        self.labels, self.multi_label = tuple(labels), several
        self._fixed = wanted[0].astype(np.float32)
        self._learned = np.flatnonzero(wanted.any(axis=0) & ~wanted.all(axis=0))
        if len(self._learned):
            self._pipeline = self._untrained(several, class_weights, seed)
            self._train(rows, wanted[:, self._learned] if several else wanted.argmax(axis=1))

    def _untrained(self, several: bool, class_weights: str | None, seed: int) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import FeatureUnion, make_pipeline

        counts = {"sublinear_tf": True, "min_df": self.min_rows}
        features = [("evidence", TfidfVectorizer(preprocessor=_evidence, ngram_range=(1, 2), **counts))]
        if self.nodes:
            features.append(("nodes", TfidfVectorizer(analyzer=node_tokens, **counts)))
        model = LogisticRegression(C=self.c, class_weight=class_weights, max_iter=_ITERATIONS, random_state=seed)
        return make_pipeline(FeatureUnion(features), OneVsRestClassifier(model) if several else model)

    def _train(self, rows: list[Statement], targets: npt.NDArray[Any]) -> None:
        # scikit-learn wants a single column as one dimension.
        targets = targets[:, 0] if targets.shape[1:] == (1,) else targets
        try:
            self._pipeline.fit(rows, targets)
        except ValueError as error:
            reason = str(error).split("\n")[0]
            raise UserError(f"TF-IDF: nothing can be learned from {len(rows):,} rows: {reason}") from error

    @property
    def digest(self) -> str:
        """A hash of the words, their weights, and the columns that are read."""
        import joblib  # type: ignore[import-untyped, unused-ignore]

        read = (self.nodes, sorted(self.columns.items()), self.labels, self.multi_label, self._learned, self._fixed)
        return str(joblib.hash((read, self._weights()), hash_name="sha1"))

    def _weights(self) -> Any:
        """Returns the words and their weights. The pipeline itself contains addresses, which would change a hash."""
        if self._pipeline is None:
            return None
        features, model = (step for _, step in self._pipeline.steps)
        words = [(one.vocabulary_, one.idf_) for _, one in features.transformer_list]
        return words, [(one.coef_, one.intercept_) for one in getattr(model, "estimators_", [model])]

    def encoder(self) -> Encoder:
        """Returns an encoder without inputs: the model reads the columns themselves."""
        return Encoder({})

    def __call__(self, batch: Batch) -> Tensor:
        """Returns the probabilities in the order of the labels, float32 [B, K].

        Raises UserError if the batch lacks a column that is read.
        """
        if self._fixed is None:
            raise RuntimeError("TF-IDF must be trained before it predicts: call fit()")
        statements = self._statements(batch)
        probabilities = np.tile(self._fixed, (len(batch), 1))
        # scikit-learn refuses empty input. Of a single class that is there or not, the last column is "there".
        if len(batch) and len(self._learned):
            probabilities[:, self._learned] = self._pipeline.predict_proba(statements)[:, -len(self._learned) :]
        return torch.from_numpy(probabilities)

    def _statements(self, batch: Batch) -> list[Statement]:
        names = [self.columns[role] for role in ROLES]
        if missing := [name for name in names if name not in batch.columns.schema.names]:
            raise UserError(f"TF-IDF: the statements have no column {missing[0]!r}; name theirs with columns")
        return [Statement(*row) for row in zip(*(batch.columns[name].to_pylist() for name in names), strict=True)]


def node_tokens(statement: Statement) -> list[str]:
    """Returns tokens for the names of source and target: each whole name, and its words in lower case, with the role.

    `p(HGNC:17927 ! SENP1)` gives `source=p(HGNC:17927 ! SENP1)`, `source:hgnc`, `source:17927`, `source:senp1`: the
    model can learn about this node, its namespace, and nodes that share a word.
    """
    tokens = []
    for role, name in (("source", statement.source), ("target", statement.target)):
        tokens += [f"{role}={name}", *(f"{role}:{word}" for word in _WORD.findall(name.lower()))]
    return tokens


def _evidence(statement: Statement) -> str:
    return statement.evidence.lower()
