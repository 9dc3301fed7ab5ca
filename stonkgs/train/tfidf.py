"""The baseline that a transformer has to beat: counted words, and a linear classifier."""

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

#: A word as scikit-learn has them: what stands between the brackets, colons and blanks of a BEL name is one, too.
_WORD = re.compile(r"\b\w\w+\b")
#: lbfgs needs less than a hundred, also for tens of thousands of rows
_ITERATIONS = 1000


class TfIdf(Stage, Rater):
    """The baseline without a transformer: TF-IDF of words and word pairs, and a logistic regression (scikit-learn).

    It reads a batch's `columns` and neither tokens nor graph, so no model or store has a say in it. Unlike all else in
    the project it holds every text that it learns from in memory, and a number for each word and word pair of each:
    so it is for tens of thousands of rows.
    """

    @checked("model")
    def __init__(
        self, *, nodes: bool = False, columns: Mapping[str, str] | None = None, c: float = 10.0, min_rows: Count = 2
    ) -> None:
        #: whether the names of source and target are read, beside the evidence
        self.nodes = nodes
        #: role -> the input's name for it, as the source has them
        self.columns = {**{role: role for role in ROLES}, **(columns or {})}
        #: Inverse of the penalty. Of 1, 3 and 10 the last was best on the real corpora, and 1 leaves out rare classes.
        self.c = c
        #: What is in fewer training rows is not counted.
        self.min_rows = min_rows
        self._labels: tuple[str, ...] = ()
        self._multi_label = False
        self._pipeline: Any = None
        #: int64, the classes that are told apart
        self._learned = np.zeros(0, np.int64)
        #: float32 [K], the probabilities of the others
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
        """Learn from N statements: `targets` are N numbers of `labels`, or bool [N, K] where a row may be of several.

        `balanced` weighs a row of one of K classes by N / (K rows of its class), and in bool targets each class
        against the rest alike. A class that no training row has, or every one, is not learned: its probability is 0,
        or 1. `seed` is the solver's, and lbfgs draws nothing: the result is the same for any. Raises UserError where
        there is nothing to learn from, or a setting is none.
        """
        require("sklearn")
        rows, given = list(statements), np.asarray(targets if isinstance(targets, np.ndarray) else list(targets))
        if not rows:
            raise UserError("TF-IDF: there are no rows to learn from")
        several = given.ndim == 2
        wanted = given.astype(bool) if several else np.eye(len(labels), dtype=bool)[given.astype(int)]
        if wanted.shape != (len(rows), len(labels)):
            raise ValueError(f"targets {list(wanted.shape)} of {len(rows)} rows and {len(labels)} classes")
        self._labels, self._multi_label = tuple(labels), several
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

    def _train(self, rows: list[Statement], answers: npt.NDArray[Any]) -> None:
        # scikit-learn takes a column alone for the answers to a question of two classes.
        answers = answers[:, 0] if answers.shape[1:] == (1,) else answers
        try:
            self._pipeline.fit(rows, answers)
        except ValueError as error:
            reason = str(error).split("\n")[0]
            raise UserError(f"TF-IDF: nothing can be learned from {len(rows):,} rows: {reason}") from error

    @property
    def labels(self) -> tuple[str, ...]:
        """Those that it was trained with."""
        return self._labels

    @property
    def multi_label(self) -> bool:
        """Whether it was trained with rows of several classes."""
        return self._multi_label

    @property
    def digest(self) -> str:
        """A hash of the words, their weights, and what is read."""
        import joblib  # type: ignore[import-untyped, unused-ignore]

        read = (self.nodes, sorted(self.columns.items()), self._labels, self._multi_label, self._learned, self._fixed)
        return str(joblib.hash((read, self._weights()), hash_name="sha1"))

    def _weights(self) -> Any:
        """The words that are counted, and what each speaks for; not the objects, which hold addresses, too."""
        if self._pipeline is None:
            return None
        counted, model = (step for _, step in self._pipeline.steps)
        words = [(one.vocabulary_, one.idf_) for _, one in counted.transformer_list]
        return words, [(one.coef_, one.intercept_) for one in getattr(model, "estimators_", [model])]

    def encoder(self) -> Encoder:
        """Columns are read as they are."""
        return Encoder({})

    def __call__(self, batch: Batch) -> Tensor:
        """Probabilities in the order of the labels: float32 [B, K].

        Raises UserError where the batch lacks a column that is read.
        """
        if self._fixed is None:
            raise RuntimeError("TF-IDF is trained before it predicts: call fit()")
        statements = self._statements(batch)
        probabilities = np.tile(self._fixed, (len(batch), 1))
        # scikit-learn refuses no rows. Of a question of two classes the last column is the answer yes.
        if len(batch) and len(self._learned):
            probabilities[:, self._learned] = self._pipeline.predict_proba(statements)[:, -len(self._learned) :]
        return torch.from_numpy(probabilities)

    def _statements(self, batch: Batch) -> list[Statement]:
        names = [self.columns[role] for role in ROLES]
        if missing := [name for name in names if name not in batch.columns.schema.names]:
            raise UserError(f"TF-IDF: the statements have no column {missing[0]!r}; name theirs with columns")
        return [Statement(*row) for row in zip(*(batch.columns[name].to_pylist() for name in names), strict=True)]


def node_tokens(statement: Statement) -> list[str]:
    """The names of source and target as tokens with their role: each whole, and its words in lower case.

    `p(HGNC:17927 ! SENP1)` gives `source=p(HGNC:17927 ! SENP1)`, `source:hgnc`, `source:17927`, `source:senp1`: what
    is known of just this node, of its namespace, and of names that share a word.
    """
    tokens = []
    for role, name in (("source", statement.source), ("target", statement.target)):
        tokens += [f"{role}={name}", *(f"{role}:{word}" for word in _WORD.findall(name.lower()))]
    return tokens


def _evidence(statement: Statement) -> str:
    return statement.evidence.lower()
