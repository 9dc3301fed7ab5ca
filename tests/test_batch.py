"""Windows, batches, and what they carry."""

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import NODES

from stonkgs.batch import Batch, Batches
from stonkgs.encode.nodes import Found
from stonkgs.encode.walks import SPECIALS, Walks
from stonkgs.kge.shift import SEPARATOR, UNKNOWN
from stonkgs.kge.store import KgeStore
from stonkgs.model.predictor import Predictor
from stonkgs.source.base import World
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Statement


@pytest.fixture
def batches(tmp_path: Path, kge_path: Path, model_path: Path) -> Batches:
    """40 statements in splits of about ten, rows 7 and 8 of them unusable."""
    texts = ["x" * (1 + number * 7 % 13) for number in range(40)]
    lines = [f"{NODES[n % 9]}\t{'nobody' if n % 5 else NODES[n % 7]}\t{text}\t{n}" for n, text in enumerate(texts)]
    lines[7], lines[8] = "too\tfew", "too\tmany\tof\tthese\there"
    path = tmp_path / "rows.tsv"
    path.write_text("source\ttarget\tevidence\tn\n" + "\n".join(lines))
    source = TsvSource(path=str(path), quoting="none")
    reader = source.reader(source.plan(10))
    encoder = Predictor(str(model_path), KgeStore(path=str(kge_path), match="exact")).encoder()
    return Batches(source=reader, encoder=encoder, size=4, window=100)


def test_every_row_once_and_accounted_for(batches: Batches) -> None:
    seen: list[str] = []
    rejected = lines = 0
    for batch in batches:
        seen += batch.columns["n"].to_pylist()
        rejected += len(batch.rejected)
        if batch.end:
            lines += batch.end.tally.lines or 0
    assert sorted(map(int, seen)) == [n for n in range(40) if n not in {7, 8}]
    assert (rejected, lines) == (2, 40)


def test_positions_are_the_order_of_the_split(batches: Batches) -> None:
    for split in batches.reader.splits():
        parts = list(batches.split(split))
        positions = np.concatenate([batch.positions for batch in parts])
        rows = np.concatenate([batch.columns["n"].to_pylist() for batch in parts]).astype(int)
        assert sorted(positions) == list(range(len(positions)))
        assert (np.diff(rows[np.argsort(positions)]) > 0).all()
        assert [batch.end is not None for batch in parts] == [False] * (len(parts) - 1) + [True]


def test_sorted_by_length_inside_a_split(batches: Batches) -> None:
    for split in batches.reader.splits():
        lengths = [batch.lengths[text] for batch in filter(len, batches.split(split)) for text in batch.text]
        assert lengths == sorted(lengths)


def test_a_batch_says_what_the_examples_said(batches: Batches) -> None:
    statements = first_statements(batches)
    by_row = {example.statement.extra["n"]: example for example in batches.encoder(statements)}
    for batch in batches.split(next(batches.reader.splits())):
        assert len(batch.nodes) == len(set(batch.nodes.tolist()))
        for place, row in enumerate(batch.columns["n"].to_pylist()):
            example = by_row[row]
            text = batch.text[place]
            assert batch.tokens[text, : batch.lengths[text]].tolist() == example.tokens.tolist()
            assert not batch.tokens[text, batch.lengths[text] :].any()
            codes = {0: UNKNOWN, 1: SEPARATOR} | {SPECIALS + k: node for k, node in enumerate(batch.nodes)}
            assert [codes[k] for k in batch.graph[place]] == example.rows.tolist()
            assert tuple(batch.found[place]) == example.found == (Found.EXACT, Found(int(row) % 5 == 0))
            assert batch.truncated[place] == example.text_truncated


def first_statements(batches: Batches) -> list[Statement]:
    """The usable records of the first split."""
    records = batches.reader.read(next(batches.reader.splits()))
    return [record for record in records if isinstance(record, Statement)]


def test_equal_texts_are_sent_once(batches: Batches) -> None:
    for batch in filter(len, batches):
        texts = {row.tobytes() for row in batch.tokens}
        assert len(texts) == len(batch.tokens)


def test_examples_have_their_vectors_on_demand(batches: Batches) -> None:
    walks = batches.encoder.inputs["walks"]
    assert isinstance(walks, Walks)
    kge = walks.kge
    statements = first_statements(batches)
    for example in batches.encoder(statements[:3]):
        assert example.vectors.shape == (2 * kge.walk_length + 2, kge.dimension)
        for row, vector in zip(example.rows, example.vectors, strict=True):
            assert vector.tolist() == (kge.vectors[row].tolist() if row >= 0 else [0.0] * kge.dimension)


def test_pickles_small(batches: Batches) -> None:
    list(batches)
    assert len(pickle.dumps(batches)) < 5000
    again: Batch = next(iter(pickle.loads(pickle.dumps(batches))))
    assert again.positions.tolist() == next(iter(batches)).positions.tolist()


class Elsewhere:
    """Another process commits split 1 while its first batch is predicted."""

    def __contains__(self, number: int) -> bool:
        return number == 1 and self.seen

    def listed(self, count: int) -> npt.NDArray[np.bool_]:
        return np.zeros(count, np.bool_)

    seen = False


def test_a_split_that_is_done_elsewhere_is_left(batches: Batches) -> None:
    there = Elsewhere()
    committed = batches.reader.at(World(committed=there))
    seen: list[Batch] = []
    for batch in Batches(source=committed, encoder=batches.encoder, size=4, window=100):
        there.seen |= batch.split == 1
        seen.append(batch)
    left = [batch for batch in seen if batch.split == 1]
    assert [len(batch) for batch in left] == [4, 0]
    assert left[1].end is not None
    assert left[1].end.elsewhere
    others = [batch for batch in seen if batch.split != 1]
    assert sum(map(len, others)) > 25, "the next splits are read whole"
    assert not any(batch.end.elsewhere for batch in others if batch.end)


def test_rejected_rows_do_not_wait_for_their_splits_end(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are between two rows: they come in empty batches, in the file's order."""
    path = Path(batches.reader.plan.files[0])
    path.write_text("source\ttarget\tevidence\tn\n" + "a\tb\tc\t1\n" + "bad\n" * 500 + "a\tb\tc\t2\n" + "bad\n" * 7)
    monkeypatch.setattr("stonkgs.batch.REJECTED_BYTES", 20 * 600)
    source = TsvSource(path=str(path), quoting="none")
    whole = Batches(source=source.reader(source.plan(1000)), encoder=batches.encoder, size=4, window=100)
    (split,) = whole.reader.plan
    seen = list(whole.split(split))
    assert max(len(batch.rejected) for batch in seen) < 30
    assert [rejection.line for batch in seen for rejection in batch.rejected] == [*range(1, 501), *range(502, 509)]
    assert sum(map(len, seen)) == 2
    assert [batch.end is not None for batch in seen] == [False] * (len(seen) - 1) + [True]


def test_a_split_of_nothing_but_rejected_rows(batches: Batches) -> None:
    path = Path(batches.reader.plan.files[0])
    path.write_text("source\ttarget\tevidence\tn\nbad\nbad\n")
    source = TsvSource(path=str(path), quoting="none")
    whole = Batches(source=source.reader(source.plan(1000)), encoder=batches.encoder, size=4, window=100)
    (batch,) = whole
    assert (len(batch), len(batch.rejected), batch.end is not None) == (0, 2, True)
