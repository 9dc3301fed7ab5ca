"""The baseline of counted words."""

import csv
import gzip
import pickle
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest
import torch

pytest.importorskip("sklearn")
from sklearn.metrics import f1_score

from stonkgs.batch import Batch, collate
from stonkgs.errors import UserError
from stonkgs.statement import Statement
from stonkgs.train.tfidf import TfIdf, node_tokens

LABELS = ("down", "none", "up")
WORDS = ("inhibits strongly", "is unlike", "activates again")


def statements(count: int, source: str = "p(HGNC:1 ! A1)") -> list[Statement]:
    """Of the classes down, none and up, one after the other."""
    return [Statement(source, "p(HGNC:2 ! B2)", f"Protein x{n} {WORDS[n % 3]} y{n % 7}") for n in range(count)]


def batch_of(rows: list[Statement], names: tuple[str, ...] = ("source", "target", "evidence")) -> Batch:
    """A batch of nothing but columns, which is all that the baseline reads."""
    batch = collate([])
    batch.positions = np.arange(len(rows))
    values = [[getattr(row, role) for row in rows] for role in ("source", "target", "evidence")]
    batch.columns = pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in values], names=list(names))
    return batch


def trained(rows: list[Statement], targets: Any, labels: tuple[str, ...] = LABELS, **settings: Any) -> TfIdf:
    model = TfIdf(**settings)
    model.fit(rows, targets, labels)
    return model


def test_it_learns_and_gives_probabilities() -> None:
    model = trained(statements(60), [n % 3 for n in range(60)])
    probabilities = model(batch_of(statements(9)))
    assert probabilities.dtype == torch.float32
    assert probabilities.argmax(dim=1).tolist() == [0, 1, 2] * 3
    np.testing.assert_allclose(probabilities.sum(dim=1), 1, atol=1e-6)
    assert model(batch_of([])).shape == (0, 3)


def test_columns_are_of_the_labels_and_zero_for_a_class_never_seen() -> None:
    rows = statements(60)
    model = trained(rows, [(n % 3) * 2 for n in range(60)], ("down", "never", "none", "absent", "up"))
    probabilities = model(batch_of(rows[:3]))
    assert probabilities.argmax(dim=1).tolist() == [0, 2, 4]
    assert not probabilities[:, [1, 3]].any()


def test_of_two_classes_each_has_its_column() -> None:
    rows = [row for n, row in enumerate(statements(60)) if n % 3]
    probabilities = trained(rows, [1, 2] * 20)(batch_of(rows[:2]))
    assert probabilities.argmax(dim=1).tolist() == [1, 2]
    assert not probabilities[:, 0].any()


def test_a_single_class_is_sure() -> None:
    model = trained(statements(5), [1] * 5)
    assert model(batch_of(statements(2))).tolist() == [[0, 1, 0]] * 2


@pytest.mark.filterwarnings("error")
def test_several_classes_a_row() -> None:
    """Columns that never or always hold, and a single one that varies, among them."""
    rows = statements(60)
    number = np.arange(60)
    up, down = number % 3 == 2, number % 3 == 0
    always, never = np.ones(60, np.bool_), np.zeros(60, np.bool_)
    probabilities = trained(rows, np.stack([up, never, down, always], 1), ("a", "b", "c", "d"))(batch_of(rows[:3]))
    assert (probabilities > 0.5).tolist() == [[n == 2, False, n == 0, True] for n in range(3)]
    assert probabilities[:, [1, 3]].tolist() == [[0, 1]] * 3
    single = trained(rows, np.stack([never, up], 1), ("a", "b"))(batch_of(rows[:3]))
    assert (single > 0.5).tolist() == [[False, n == 2] for n in range(3)]


def test_nodes_are_read_where_they_are_asked_for() -> None:
    rows = [Statement(f"p(HGNC:{n % 2} ! G{n % 2})", "a(b)", f"some words {n % 5}") for n in range(40)]
    targets = [n % 2 for n in range(40)]
    batch = batch_of(rows[:2])
    assert np.ptp(trained(rows, targets)(batch)[:, 0].numpy()) < 0.2
    assert trained(rows, targets, nodes=True)(batch).argmax(dim=1).tolist() == [0, 1]


def test_tokens_of_nodes() -> None:
    statement = Statement('a(GO:"GO:0043197" ! "dendritic spine")', "", "never read")
    assert node_tokens(statement) == [
        'source=a(GO:"GO:0043197" ! "dendritic spine")',
        *("source:go", "source:go", "source:0043197", "source:dendritic", "source:spine"),
        "target=",
    ]


def test_the_same_again_and_after_pickling() -> None:
    rows, targets, batch = statements(60), [n % 3 for n in range(60)], batch_of(statements(9))
    once = trained(rows, targets, nodes=True)
    expected = once(batch)
    np.testing.assert_array_equal(trained(rows, targets, nodes=True)(batch), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(once))(batch), expected)


def test_a_batch_does_not_show() -> None:
    model = trained(statements(60), [n % 3 for n in range(60)])
    alone = np.concatenate([model(batch_of([row])) for row in statements(9)])
    np.testing.assert_allclose(alone, model(batch_of(statements(9))), rtol=0, atol=1e-7)


def test_columns_by_another_name() -> None:
    columns = {"source": "subject", "evidence": "text"}
    model = trained(statements(60), [n % 3 for n in range(60)], columns=columns)
    probabilities = model(batch_of(statements(3), names=("subject", "target", "text")))
    assert probabilities.argmax(dim=1).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="no column 'subject'"):
        model(batch_of(statements(3)))


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([], {}, "no rows"),
        ([Statement("a", "b", "")] * 6, {}, "6 rows: empty vocabulary"),
        (statements(6), {"min_rows": 100}, "6 rows: "),
        (statements(6), {"c": -1.0}, "6 rows: The 'C' parameter"),
    ],
)
def test_what_cannot_be_learned(rows: list[Statement], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^TF-IDF: .*{message}.*$") as caught:
        trained(rows, [n % 3 for n in range(len(rows))], **settings)
    assert "\n" not in str(caught.value)


def test_misuse() -> None:
    with pytest.raises(RuntimeError, match="fit"):
        TfIdf()(batch_of(statements(1)))
    with pytest.raises(ValueError, match="targets"):
        trained(statements(3), [0, 1])


@pytest.mark.parametrize(
    ("nodes", "class_weights", "least"), [(False, None, 0.62), (False, "balanced", 0.62), (True, None, 0.66)]
)
def test_worth_on_real_statements(
    corpora: Path, nodes: bool, class_weights: Literal["balanced"] | None, least: float
) -> None:
    """Weighted F1 of correct against incorrect, a fifth of the evidences tested: the most frequent class has 0.51."""
    with gzip.open(corpora / "correctness_hbp_enrichment.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["correct_binary"] != "corrected"]
    parts: tuple[list[Statement], list[Statement]] = ([], [])
    truths: tuple[list[int], list[int]] = ([], [])
    for row in rows:
        tested = crc32(row["evidence"].encode()) % 5 == 0
        parts[tested].append(Statement(row["source"], row["target"], row["evidence"]))
        truths[tested].append(row["correct_binary"] == "correct")
    model = TfIdf(nodes=nodes)
    model.fit(parts[0], truths[0], ("incorrect", "correct"), class_weights=class_weights)
    predicted = model(batch_of(parts[1])).argmax(dim=1)
    assert f1_score(truths[1], predicted, average="weighted") > least
