"""The stream of pre-training: rows, pairs and masks follow from seed, epoch and row, for any workers and processes."""

import pickle
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import KINDS, LABELS, selected, two_files
from torch.utils.data import DataLoader

from stonkgs.encode.encoder import Encoder
from stonkgs.encode.walks import Walks
from stonkgs.model.network import STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.model.pretraining import PretrainingHeads
from stonkgs.protocol import TRAIN, VALIDATION, Grouped
from stonkgs.statement import Statement
from stonkgs.train.masks import SparingMasks
from stonkgs.train.pairs import APART, TOGETHER, PairEncoder, PairShare, PairStream, further, with_further
from stonkgs.train.pretraining import PreTraining, PretrainingScores
from stonkgs.train.schedule import Schedule
from stonkgs.train.selection import LabelledRow, Selection
from stonkgs.train.unlabelled import Pretraining, TwoParts


class Corpus:
    """A selection of all rows, and what reads it."""

    def __init__(self, folder: Path, kind: str, predictor: Predictor) -> None:
        reader = two_files(folder, kind, LABELS)
        self.selection: Selection = selected(reader, Pretraining(), TwoParts(Grouped()))
        self.part = [row for split in reader.plan for row in self.selection.rows(split, TRAIN)]
        network, kge = predictor.model, predictor.kge
        inputs = {"text": network.inputs(kge)["text"], "walks": Walks(network.nodes(kge))}
        self.encode = PairEncoder(Encoder(inputs), SparingMasks(network.text, kge.nodes), False, 3)

    def schedule(self, **settings: Any) -> Schedule:
        rows = len(self.part)
        return Schedule(**{"counts": np.array([rows + further(rows)]), "epochs": 3, "size": 4, **settings})

    def stream(self, *, epoch: int = 0, start: int = 0, stop: int | None = None, **settings: Any) -> PairStream:
        own = {key: settings.pop(key, value) for key, value in {"rank": 0, "buffer": 1000, "part": TRAIN}.items()}
        schedule = self.schedule(**settings)
        stop = schedule.steps if stop is None else stop
        parts: dict[str, Any] = {"selection": self.selection, "encode": self.encode, "schedule": schedule}
        return PairStream(**parts, **own, epoch=epoch, start=start, stop=stop)


@pytest.fixture(scope="module")
def predictor(kge_path: Path, model_path: Path) -> Predictor:
    return Predictor(str(model_path), str(kge_path))


@pytest.fixture(params=KINDS)
def every(request: pytest.FixtureRequest, tmp_path: Path, predictor: Predictor) -> Corpus:
    return Corpus(tmp_path, request.param, predictor)


@pytest.fixture
def corpus(tmp_path: Path, predictor: Predictor) -> Corpus:
    return Corpus(tmp_path, "tsv", predictor)


def contents(steps: Iterable[PairShare]) -> list[Any]:
    """Everything of each step that the network sees and guesses."""
    return [
        (
            step.number,
            *(getattr(step.batch, name).tolist() for name in ("tokens", "lengths", "nodes", "graph")),
            *(array.tolist() for guesses in (step.text, step.nodes) for array in guesses),
            step.pairs.tolist(),
        )
        for step in steps
    ]


def test_an_epoch_has_each_row_once_and_a_quarter_of_them_again(every: Corpus) -> None:
    rows = [row for step in every.stream().step_rows() for row in step]
    together = Counter(row.number for row in rows if row.target == TOGETHER)
    apart = Counter(row.number for row in rows if row.target == APART)
    assert together == Counter(row.number for row in every.part)
    assert sum(apart.values()) == further(len(every.part)) == len(every.part) // 4
    assert set(apart.values()) == {1}


def test_rows_apart_have_their_own_text_and_another_graph(corpus: Corpus) -> None:
    own = {row.number: row.statement for row in corpus.part}
    graphs = {(one.source, one.target) for one in own.values()}
    for epoch in range(4):
        for row in (row for step in corpus.stream(epoch=epoch).step_rows() for row in step):
            mine = own[row.number]
            graph = (row.statement.source, row.statement.target)
            assert row.statement.evidence == mine.evidence
            assert (graph != (mine.source, mine.target)) == (row.target == APART)
            assert graph in graphs


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab"), st.sampled_from("xyz"))), st.integers(1, 9))
def test_no_text_is_said_to_be_apart_from_a_graph_that_it_states(
    triples: list[tuple[str, str, str]], window: int
) -> None:
    """Not in any of the rows held. Most rows share nodes or text; the number of pairs is the same in any case."""
    rows = [LabelledRow(number, Statement(*triple), 0) for number, triple in enumerate(triples)]
    found = list(with_further(rows, Random(1), window=window))
    assert len(found) == len(rows) + further(len(rows))
    for row in found:
        first = row.number // window * window
        stated = {(triple[2], triple[:2]) for triple in triples[max(first - window, 0) : first + window]}
        own = rows[row.number].statement
        assert row.statement.evidence == own.evidence
        graph = (row.statement.source, row.statement.target)
        assert (graph == (own.source, own.target)) == (row.target == TOGETHER)
        if row.target == APART:
            assert (own.evidence, graph) not in stated
            assert graph in {other for _, other in stated}


def test_the_order_pairs_and_masks_follow_from_seed_and_epoch(every: Corpus) -> None:
    found = {(seed, epoch): contents(every.stream(seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert all(one != other for one, other in pairwise(found.values()))
    for (seed, epoch), steps in found.items():
        again = pickle.loads(pickle.dumps(every.stream(seed=seed, epoch=epoch)))
        assert contents(again) == steps


def test_a_row_has_other_masks_in_another_epoch(corpus: Corpus) -> None:
    def masks(epoch: int) -> list[Any]:
        share = corpus.encode(corpus.part, epoch=epoch, number=0)
        return [array.tolist() for array in (share.batch.tokens, share.batch.graph, share.nodes.columns)]

    assert masks(0) == masks(0)
    assert all(one != other for one, other in zip(masks(0), masks(1), strict=True))


def test_equal_rows_have_masks_of_their_own(corpus: Corpus) -> None:
    rows = [corpus.part[0]._replace(number=number) for number in range(30)]
    share = corpus.encode(rows, epoch=0, number=0)
    masks = {tuple(share.nodes.columns[share.nodes.rows == row].tolist()) for row in range(30)}
    assert len(masks) > 15


def test_a_row_has_the_same_masks_beside_other_rows(corpus: Corpus) -> None:
    def of(rows: list[LabelledRow]) -> list[Any]:
        share = corpus.encode(rows, epoch=0, number=0)
        last = len(rows) - 1
        return [[array.tolist() for array in (half.columns[half.rows == last], half.labels[half.rows == last])]
                for half in (share.text, share.nodes)]  # fmt: skip

    assert of(corpus.part[:7]) == of(corpus.part[6:7])


def test_workers_do_not_show(every: Corpus) -> None:
    for settings_ in ({}, {"start": 5, "stop": 16}):
        stream = every.stream(epoch=1, **settings_)
        alone = contents(stream)
        loader: DataLoader[Any] = DataLoader(stream, batch_size=None, num_workers=2)
        assert contents(loader) == alone


def test_it_goes_on_from_any_step(corpus: Corpus) -> None:
    whole = contents(corpus.stream(epoch=2))
    for start in (1, 9, len(whole) - 1):
        assert contents(corpus.stream(epoch=2, start=start)) == whole[start:]


def test_two_processes_take_what_one_takes(corpus: Corpus) -> None:
    """Each row with the same masks: one process with 8 rows a step, or two with 4."""

    def guessed(shares: Iterable[PairShare]) -> list[tuple[Any, ...]]:
        """Of each row its tokens, labels of nodes and pair, in any order."""
        return sorted(
            (share.batch.tokens[row].tolist()[: share.batch.lengths[row]],
             share.nodes.labels[share.nodes.rows == row].tolist(), int(share.pairs[row]))
            for share in shares for row in range(len(share.batch))
        )  # fmt: skip

    one = list(corpus.stream(size=8, epoch=1))
    two = [list(corpus.stream(size=4, world=2, rank=rank, epoch=1)) for rank in range(2)]
    assert len(one) == len(two[0]) == len(two[1])
    for whole, *shares in zip(one, *two, strict=True):
        assert guessed([whole]) == guessed(shares)


def test_losses_of_shares_add_up_to_those_of_the_step(corpus: Corpus, predictor: Predictor) -> None:
    """So that with the counts of all processes, which are added too, the loss is the mean over all their rows."""
    network = predictor.model
    assert isinstance(network, STonKGs)
    torch.manual_seed(0)
    heads = PretrainingHeads(network.config, predictor.kge.nodes, biased=True)
    options: dict[str, Any] = {"optimizer": torch.optim.AdamW, "warmup": 0, "freeze_backbone": True}
    module = PreTraining(predictor, corpus.schedule(), heads=heads, threads=None, log_every=1, **options).eval()
    whole = next(iter(corpus.stream(size=8)))
    shares = [next(iter(corpus.stream(size=4, world=2, rank=rank))) for rank in range(2)]
    with torch.inference_mode():
        sums, counts, _ = module._sums(whole)
        parts = [module._sums(share) for share in shares]
    assert (counts > 0).all()
    assert sum(part[1] for part in parts).tolist() == counts.tolist()  # type: ignore[union-attr]
    assert sum(part[0] for part in parts).tolist() == pytest.approx(sums.tolist(), rel=1e-4)  # type: ignore[union-attr]


def test_of_what_was_not_masked_nothing_is_said() -> None:
    """Null in JSON, which has no NaN; the loss is that of the others."""
    scores = PretrainingScores()
    scores.update(torch.tensor([4.0, 0, 3]), torch.tensor([1, 0, 2]), torch.tensor([2, 0, 4]))
    found = scores.compute()
    assert found["loss"] == 2.75
    assert (found["entity_loss"], found["entity_accuracy"]) == (None, None)
    assert (found["text_loss"], found["text_accuracy"], found["pair_accuracy"]) == (2, 0.5, 0.5)


def test_what_is_guessed_is_what_stood_there(corpus: Corpus) -> None:
    """Against the batch without masks: everything else is as it was."""
    encoder, rows = corpus.encode.encoder, corpus.part[:20]
    share, examples = corpus.encode(rows, epoch=0, number=0), encoder([row.statement for row in rows])
    nodes = share.batch.nodes
    for row, example in enumerate(examples):
        for half, values, guesses in (
            ("text", share.batch.tokens[row, : len(example.tokens)], share.text),
            ("graph", np.append([-1, -2, -3], nodes)[share.batch.graph[row]], share.nodes),
        ):
            before = example.tokens if half == "text" else example.rows
            columns = guesses.columns[guesses.rows == row]
            others = np.delete(np.arange(len(before)), columns)
            assert (before[columns] == guesses.labels[guesses.rows == row]).all()
            assert (values[others] == before[others]).all()


def test_a_validation_is_of_its_part_and_always_the_same(corpus: Corpus) -> None:
    part = [row for split in corpus.selection.reader.plan for row in corpus.selection.rows(split, VALIDATION)]
    assert len(part) > 4
    settings_: dict[str, Any] = {"part": VALIDATION, "counts": np.array([len(part) + further(len(part))])}
    streams = [corpus.stream(**settings_, buffer=1) for _ in range(2)]
    assert contents(streams[0]) == contents(streams[1])
    numbers = {row.number for step in streams[0].step_rows() for row in step}
    assert numbers == {row.number for row in part}


def test_a_process_without_rows_has_an_empty_share(corpus: Corpus) -> None:
    share = corpus.encode([], epoch=0, number=0)
    assert len(share.batch) == len(share.pairs) == len(share.text.rows) == 0
