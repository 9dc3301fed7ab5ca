"""The Python interface: any rows in, predictions out as they come."""

import gc
import itertools
import multiprocessing
import os
import re
import sqlite3
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from conftest import LABELS, NODES

from stonkgs import KgeStore, Prediction, Predictor, Rejection, Statement, STonKGs, UserError
from stonkgs.train.tfidf import TfIdf


@pytest.fixture(scope="module")
def predictor(model_path: Path, kge_path: Path) -> Predictor:
    return Predictor(model_path, kge_path)


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "source": NODES[number % 7],
            "target": "nobody" if number % 5 == 0 else NODES[number % 11],
            "evidence": "HIF1A " * (number % 9),
        }
        for number in range(count)
    ]


def values(found: list[Prediction]) -> Any:
    return np.array([list(prediction.probabilities.values()) for prediction in found])


def test_dictionaries_tuples_and_statements_are_the_same(predictor: Predictor) -> None:
    given = rows(30)
    tuples = [(row["source"], row["target"], row["evidence"]) for row in given]
    kinds: list[Any] = [given, tuples, [list(row) for row in tuples], [Statement(*row) for row in tuples], iter(given)]
    found = [predictor.predict(kind) for kind in kinds]
    assert len(np.unique(values(found[0]))) > 20
    for other in found[1:]:
        assert values(other).tolist() == values(found[0]).tolist()
    first = found[0][1]
    assert first.statement.extra == {"id": 1}
    assert list(first.probabilities) == list(LABELS)
    assert first.prediction == max(first.probabilities, key=first.probabilities.__getitem__)
    assert [found[0][k].target_known for k in range(3)] == [False, True, True]
    assert [p.text_truncated for p in found[0][:9]] == [len("HIF1A " * k) // 6 * 5 + 2 > 24 for k in range(9)]


def test_the_rows_order_whatever_window_and_size(predictor: Predictor) -> None:
    """Each as it is rated alone, by the batches that the command line makes, too."""
    given = rows(40)
    alone = np.concatenate([values(predictor.predict([row])) for row in given])
    for window, size in ((1, 1), (7, 3), (40, 40), (1000, 8)):
        found = list(predictor.predict_iter(given, window=window, size=size))
        assert [prediction.statement.extra["id"] for prediction in found] == list(range(40))
        assert np.abs(values(found) - alone).max() < 1e-6


def test_it_yields_as_it_goes(predictor: Predictor) -> None:
    read: list[int] = []

    def endless() -> Iterator[dict[str, Any]]:
        for number in itertools.count():
            read.append(number)
            yield rows(12)[number % 12]

    predictions = predictor.predict_iter(endless(), window=10)
    assert not read, "nothing is read before somebody asks"
    next(predictions)
    assert len(read) == 10, "the first result is there before the second window is read"
    predictions.close()
    one = predictor.predict_iter(endless(), window=1)
    del read[:]
    next(one)
    next(one)
    assert len(read) == 2, "a row at a time"


def test_fifty_thousand_rows_of_an_endless_generator_take_no_memory(kge_path: Path, tmp_path: Path) -> None:
    from synthetic import write_model

    predictor = Predictor(
        write_model(tmp_path / "model", hidden=16, layers=1, text_length=4, walk_length=5, intermediate_size=16),
        kge_path,
    )
    process, sizes = psutil.Process(), []
    # After 9,000 rows the caches of names and texts have all that they will get.
    endless = ((f"{NODES[n % 7]}", f"{n % 9_000}", f"word{n % 1000} " * (n % 7)) for n in itertools.count())
    for number, _ in enumerate(predictor.predict_iter(endless, window=512, size=512)):
        if number % 5_000 == 4_999:
            gc.collect()
            sizes.append(process.memory_info().rss / 1e6)
        if number == 50_000:
            break
    assert len(sizes) == 10
    # If every row left 100 bytes behind, the process would grow by 0.5 MB between any two sizes. A library that grows
    # once, by whatever it keeps, is in one of these steps and not in most.
    assert statistics.median(np.diff(sizes)) < 0.4, sizes


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_row_ends_it_after_the_rows_before(predictor: Predictor, workers: int) -> None:
    given: list[Any] = rows(30)
    given[17] = {**given[17], "evidence": None}
    seen: list[Prediction] = []
    with pytest.raises(UserError, match=r"row 18: 'evidence' is null; mend it, or go on without: on_rejected=print"):
        seen.extend(predictor.predict_iter(given, window=5, num_workers=workers))
    assert [prediction.statement.extra["id"] for prediction in seen] == list(range(17))


def test_or_it_is_set_aside_and_the_rest_goes_on(predictor: Predictor) -> None:
    given: list[Any] = rows(6)
    given[1] = {"source": "a", "evidence": "b"}
    given[2] = ("a", "b")
    given[3] = "a statement"
    given[4] = ("a", "b", float("nan"))
    given.append(("a", pd.NA, "c"))
    given.append(("a", 7, "c"))
    given.append(("a", "b", "\ud800"))
    rejected: list[Rejection] = []
    found = predictor.predict(given, on_rejected=rejected.append)
    assert [prediction.statement.extra["id"] for prediction in found] == [0, 5]
    assert [(rejection.row, rejection.reason) for rejection in rejected] == [
        (2, "no 'target'"),
        (3, "2 values; a tuple is (source, target, evidence)"),
        (4, "a str, not a dictionary, a tuple of three or a Statement"),
        (5, "'evidence' is null"),
        (7, "'target' is null"),
        (8, "'target' is of type int, not a text"),
        (9, "'evidence' has half a surrogate pair, which is no character"),
    ]
    assert rejected[1].raw == b"('a', 'b')"


@pytest.mark.parametrize("given", ["a text", {"source": "a"}, Statement("a", "b", "c"), 7, None])
def test_what_is_no_rows_is_said_at_once(predictor: Predictor, given: Any) -> None:
    with pytest.raises(UserError, match=r"rows are a \w+; give a list, a generator"):
        predictor.predict_iter(given)


@pytest.mark.parametrize("option", [{"size": 0}, {"window": True}, {"num_workers": -1}])
def test_wrong_options_are_said_at_once(predictor: Predictor, option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="must be a whole number of"):
        predictor.predict_iter([], **option)
    with pytest.raises(UserError, match="no such role"):
        list(predictor.predict_iter([], columns={"subject": "source"}))


def test_a_data_frame_gives_a_data_frame(predictor: Predictor) -> None:
    frame = pd.DataFrame(rows(20)).rename(columns={"evidence": "sentence"}).set_index("id")
    before = frame.copy()
    found = predictor.predict(frame, columns={"evidence": "sentence"})
    assert list(found) == [*frame, *LABELS, "prediction", "source_known", "target_known", "text_truncated"]
    assert found.index.equals(frame.index)
    assert np.allclose(found[list(LABELS)], values(predictor.predict(rows(20))))
    pd.testing.assert_frame_equal(frame, before)


def test_rows_of_a_data_frame_that_cannot_be_used_are_left_out(predictor: Predictor) -> None:
    frame = pd.DataFrame(rows(5))
    frame.loc[[1, 3], "evidence"] = None
    rejected: list[Rejection] = []
    found = predictor.predict(frame, on_rejected=rejected.append)
    assert found["id"].tolist() == found.index.tolist() == [0, 2, 4]
    assert [rejection.row for rejection in rejected] == [2, 4]
    with pytest.raises(UserError, match="row 2: 'evidence' is null"):
        predictor.predict(frame)


def test_data_frames_that_do_not_fit(predictor: Predictor) -> None:
    frame = pd.DataFrame(rows(3))
    with pytest.raises(UserError, match="the data frame has no column 'evidence'"):
        predictor.predict(frame.drop(columns="evidence"))
    with pytest.raises(UserError, match=r"has columns \['correct'\], which are output columns too"):
        predictor.predict(frame.assign(correct=1))
    with pytest.raises(UserError, match="more than one column 'source'"):
        predictor.predict(pd.concat([frame, frame[["source"]]], axis=1))
    assert len(predictor.predict(frame.iloc[:0])) == 0


def test_workers_change_nothing_and_end_with_the_generator(predictor: Predictor) -> None:
    given = rows(100)
    wanted = values(predictor.predict(given, window=9))
    assert values(predictor.predict(given, window=9, num_workers=2)).tolist() == wanted.tolist()
    predictions = predictor.predict_iter(itertools.cycle(given), window=9, num_workers=2)
    next(predictions)
    assert len(multiprocessing.active_children()) == 2
    predictions.close()
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_one_line(predictor: Predictor) -> None:
    predictions = predictor.predict_iter(itertools.cycle(rows(100)), window=9, num_workers=1)
    next(predictions)
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, 9)
    with pytest.raises(UserError, match="a worker process ended early: killed"):
        for _ in itertools.islice(predictions, 1000):
            pass


def test_errors_of_the_users_own_generator_come_through(predictor: Predictor) -> None:
    def broken() -> Iterator[Any]:
        yield from rows(10)
        raise ZeroDivisionError

    for workers in (0, 1):
        seen: list[Prediction] = []
        with pytest.raises(ZeroDivisionError):
            seen.extend(predictor.predict_iter(broken(), window=6, num_workers=workers))
        assert len(seen) == 10, "what it gave before counts"


def test_a_pre_trained_model_predicts_nothing(model_path: Path, kge_path: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    model = STonKGs.from_pretrained(str(model_path))
    bare = STonKGs(replace(model.config, labels=()), model.text)
    with pytest.raises(UserError, match="a pre-trained model without a classifier"):
        Predictor(bare, KgeStore(path=kge_path)).predict_iter([])


def test_a_model_that_is_loaded_goes_where_it_is_told(model_path: Path, kge_path: Path) -> None:
    predictor = Predictor(model_path, KgeStore(path=kge_path), device="cpu")
    assert {weight.device for weight in predictor.model.parameters()} == {torch.device("cpu")}
    with pytest.raises(UserError, match="nowhere: no such folder; a model is a folder"):
        Predictor("nowhere", kge_path)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda", "cannot be used: "),
        ("cuda:99", "cannot be used: "),
        ("meta", "cannot be used: it holds no numbers"),
        ("gpu", "is no device"),
        ([1], "is no device"),
    ],
)
def test_a_device_that_there_is_not(device: Any, said: str, model_path: Path, kge_path: Path) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UserError, match=rf"device={re.escape(str(device))}: {said}.*; here there is cpu") as caught:
        Predictor(model_path, kge_path, device=device)
    assert "\n" not in str(caught.value)


def test_what_is_no_model(kge_path: Path) -> None:
    with pytest.raises(UserError, match=r"^a TfIdf is no model that predicts; give a Network, or its folder$"):
        Predictor(cast("Any", TfIdf()), kge_path)


def test_rows_that_know_their_names_are_read_by_them(predictor: Predictor) -> None:
    given = rows(12)
    wanted = values(predictor.predict(given)).tolist()
    frame = pd.DataFrame(given)[["evidence", "id", "target", "source"]]
    database = sqlite3.connect(":memory:")
    frame.to_sql("rows", database, index=False)
    database.row_factory = sqlite3.Row
    kinds = [frame.itertuples(), frame.itertuples(index=False), database.execute("select * from rows")]
    for kind in kinds:
        found = predictor.predict(kind)
        assert values(found).tolist() == wanted
        assert [prediction.statement.extra["id"] for prediction in found] == list(range(12))


def test_kinds_of_data_frames(predictor: Predictor) -> None:
    class Frame(pd.DataFrame):  # type: ignore[misc]
        pass

    wanted = values(predictor.predict(rows(5))).tolist()
    assert predictor.predict(Frame(rows(5)))[list(LABELS)].to_numpy().tolist() == wanted
    found = list(predictor.predict_iter(pd.DataFrame(rows(5))))
    assert [prediction.statement.extra for prediction in found] == [{"id": number} for number in range(5)]


def test_a_clash_of_columns_is_said_before_the_work(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    found = predictor.predict(pd.DataFrame(rows(3)))
    monkeypatch.setattr(predictor, "encoder", lambda: pytest.fail("the work has begun"))
    with pytest.raises(UserError, match="which are output columns too"):
        predictor.predict(found)


@pytest.mark.parametrize(
    ("labels", "message"), [(["a", "a"], "several classes have one name"), (["a", "prediction"], "has classes")]
)
def test_labels_that_clash(labels: list[str], message: str, model_path: Path, kge_path: Path) -> None:
    predictor = Predictor(STonKGs.from_pretrained(str(model_path), labels=labels), kge_path)
    with pytest.raises(UserError, match=message):
        predictor.predict(pd.DataFrame(rows(3)))


def test_a_model_in_training_predicts_without_dropout_and_goes_on_as_it_was(model_path: Path, kge_path: Path) -> None:
    model = STonKGs.from_pretrained(str(model_path))
    predictor = Predictor(model, kge_path)
    wanted = values(predictor.predict(rows(8))).tolist()
    model.train()
    model.get_submodule("lm_backbone").eval()
    modes = [module.training for module in model.modules()]
    assert values(predictor.predict(rows(8))).tolist() == wanted
    assert [module.training for module in model.modules()] == modes


def test_workers_after_work_in_this_process(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenizers' own threads do not survive a fork, whatever the user's environment says."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    other = Predictor(predictor.model, predictor.kge)
    del other.model.text.__dict__["tokenizer"]
    before = values(other.predict(rows(20)))
    assert values(other.predict(rows(20), num_workers=1)).tolist() == before.tolist()
