"""Protocols: which part a row is in follows from the row alone, and shares come out about right."""

import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from stonkgs.errors import UserError
from stonkgs.protocol import (
    PARTS,
    TEST,
    TRAIN,
    VALIDATION,
    Everything,
    Grouped,
    Protocol,
    Shuffled,
    scramble,
    scrambled,
)
from stonkgs.statement import Statement

CONFIGS = ROOT / "configs"
YAMLS = {
    "grouped": "grouped by evidence, test 0.2, validation 0.1, hash seed 0",
    "folds": "grouped by evidence, fold 1 of 5, validation 0.1, hash seed 0",
    "paper": "shuffled K-fold on rows (the paper's; rows of one evidence are on both sides), fold 1 of 5, validation "
    "0, 100,000 rows",
    "all": "all labelled rows",
}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
SHARES = st.floats(0, 0.45)
EACH = settings(deadline=None, max_examples=50)


def row(evidence: str, **extra: Any) -> Statement:
    return Statement("p(HGNC:1)", "p(HGNC:2)", evidence, extra)


def parts(protocol: Protocol, count: int) -> list[str]:
    """Of rows of evidences of their own, those that are drawn."""
    protocol.rows = count
    return [protocol.part(row(f"sentence {n}"), n) for n in range(count) if protocol.drawn(n)]


def test_shares_come_out_about_right() -> None:
    for validation, test in ((0.1, 0.2), (0.3, 0.3), (0.0, 0.5), (0.45, 0.5)):
        count = Counter(parts(Grouped(validation=validation, test=test), 20_000))
        for part, share in ((TEST, test), (VALIDATION, validation), (TRAIN, 1 - validation - test)):
            # Five standard deviations.
            assert abs(count[part] / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5 + 1e-9


def test_another_seed_is_another_division() -> None:
    one, other = (parts(Grouped(seed=seed), 5000) for seed in (0, 1))
    both = sum(a == b == TEST for a, b in zip(one, other, strict=True))
    assert abs(both / 5000 - 0.04) < 0.015, "seeds are independent"


@EACH
@given(TEXTS, st.lists(TEXTS), SHARES, SHARES, st.integers(), st.data())
def test_a_group_is_in_one_part_whatever_else_there_is(
    name: str, others: list[str], validation: float, test: float, seed: int, data: st.DataObject
) -> None:
    settings: dict[str, Any] = {"validation": validation, "test": test, "seed": seed}
    alone = Grouped(**settings).part(row(name), 0)
    protocol = Grouped(**settings)
    protocol.rows = len(others) + 1
    for number, other in enumerate(others):
        protocol.part(row(other), number)
    assert protocol.part(row(name), data.draw(st.integers(0, 10**12))) == alone
    assert alone in PARTS


@EACH
@given(st.lists(st.sampled_from(["Aβ", "binds", "TAU", "ß"]), min_size=1), st.data())
def test_blanks_and_case_make_no_other_evidence(words: list[str], data: st.DataObject) -> None:
    blank = st.sampled_from([" ", "  ", "\t", "\n ", "\u00a0"])
    written = "".join(data.draw(blank) + (word.lower() if data.draw(st.booleans()) else word) for word in words)
    protocol = Grouped(seed=data.draw(st.integers(0, 9)))
    assert protocol.part(row(written + data.draw(blank)), 7) == protocol.part(row(" ".join(words)), 0)


def test_groups_of_a_column() -> None:
    protocol = Grouped(by="pmid")
    assert protocol.columns() == ("pmid",)
    assert Grouped().columns() == Grouped(by="source").columns() == ()
    by_pmid = [{protocol.part(row(f"{n}", pmid=pmid), n) for n in range(20)} for pmid in range(100)]
    assert all(len(found) == 1 for found in by_pmid)
    assert set.union(*by_pmid) == set(PARTS)
    # A column of numbers and one of their texts are one division.
    assert [protocol.part(row("", pmid=n), 0) for n in range(99)] == [
        protocol.part(row("", pmid=f"{n}"), 0) for n in range(99)
    ]
    assert {Grouped(by="target").part(row(f"{n}"), n) for n in range(99)} == {Grouped(by="target").part(row(""), 0)}


NO_TEXT = ["", " \t", "No evidence text.", "no evidence  TEXT. "]


@pytest.mark.parametrize("text", NO_TEXT)
def test_rows_without_evidence_are_grouped_by_source_and_target(text: str) -> None:
    """Wherever they stand in the file: equal rows are in one part, and different ones in all."""
    protocol = Grouped()
    nodes = [(f"p(HGNC:{n})", f"p(HGNC:{n + 1})") for n in range(5000)]
    found = [protocol.part(Statement(*pair, text), n) for n, pair in enumerate(nodes)]
    assert found == [protocol.part(Statement(*pair, other), 7) for pair in nodes for other in NO_TEXT[:1]]
    count = Counter(found)
    assert abs(count[TEST] / 5000 - 0.2) < 0.03
    assert abs(count[VALIDATION] / 5000 - 0.1) < 0.03
    turned = [protocol.part(Statement(target, source, text), 0) for source, target in nodes]
    assert turned != found, "source and target have their roles"


@pytest.mark.parametrize("missing", ["", None, float("nan"), " "])
def test_rows_without_a_group_are_grouped_by_evidence(missing: Any) -> None:
    protocol = Grouped(by="pmid")
    found = [protocol.part(row(f"sentence {n}", pmid=missing), n) for n in range(2000)]
    assert found == [protocol.part(row(f"Sentence  {n} ", pmid=None), 7) for n in range(2000)]
    assert set(found) == set(PARTS)
    by_nodes = {protocol.part(row(text, pmid=missing), n) for n, text in enumerate(NO_TEXT * 20)}
    assert len(by_nodes) == 1, "without a text either, by source and target"


def test_what_stands_for_no_text_is_what_our_sources_write() -> None:
    from stonkgs.indra import convert

    assert convert.NO_TEXT in NO_TEXT


@EACH
@given(st.integers(2, 7), st.sampled_from([0.0, 0.1, 0.3]), st.integers(0, 99))
def test_each_row_is_tested_in_one_fold(folds: int, validation: float, seed: int) -> None:
    found = [parts(Grouped(validation=validation, folds=folds, fold=k, seed=seed), 200) for k in range(folds)]
    assert all(of_row.count(TEST) == 1 for of_row in zip(*found, strict=True))


def test_with_folds_the_validation_share_is_of_all_rows() -> None:
    for fold in range(4):
        count = Counter(parts(Grouped(validation=0.3, folds=4, fold=fold), 10_000))
        assert abs(count[TEST] / 10_000 - 0.25) < 0.025
        assert abs(count[VALIDATION] / 10_000 - 0.3) < 0.025


PROTOCOLS = [Grouped, Shuffled, Everything]


@pytest.mark.parametrize("kind", PROTOCOLS)
@EACH
@given(count=st.integers(10, 300), most=st.integers(5, 300), seed=st.integers(), order=st.randoms())
def test_exactly_max_rows_are_drawn_in_any_order_of_asking(
    kind: type[Protocol], count: int, most: int, seed: int, order: Any
) -> None:
    one, other = (kind(max_rows=most, seed=seed) for _ in range(2))  # type: ignore[call-arg]
    one.rows = other.rows = count
    numbers = list(range(count))
    drawn = {number for number in numbers if one.drawn(number)}
    assert len(drawn) == min(count, most)
    order.shuffle(numbers)
    assert {number for number in numbers if other.drawn(number)} == drawn


def test_what_is_drawn_is_no_pattern() -> None:
    protocol = Everything(max_rows=2000)
    protocol.rows = 10_000
    drawn = np.flatnonzero([protocol.drawn(n) for n in range(10_000)])
    assert abs(np.histogram(drawn, bins=10, range=(0, 10_000))[0] - 200).max() < 65
    assert abs((drawn % 2).mean() - 0.5) < 0.06
    other = Everything(max_rows=2000, seed=1)
    other.rows = 10_000
    assert abs(sum(other.drawn(n) for n in drawn.tolist()) - 400) < 90


@EACH
@given(st.integers(), st.integers(0, 400), st.integers(0, 2**64 - 1))
def test_scrambled_is_scramble(seed: int, count: int, number: int) -> None:
    assert scrambled(seed, count).tolist() == [scramble(seed, n) for n in range(count)]
    assert 0 <= scramble(seed, number) < 2**64
    assert len(set(scrambled(seed, count).tolist())) == count


@pytest.mark.parametrize(("count", "most"), [(57, 100_000), (57, 57), (500, 57)])
def test_the_papers_folds_are_those_of_scikit_learn(count: int, most: int) -> None:
    pytest.importorskip("sklearn")
    from sklearn.model_selection import KFold

    drawing = Shuffled(max_rows=most)
    drawing.rows = count
    drawn = [number for number in range(count) if drawing.drawn(number)]
    assert len(drawn) == 57
    for fold, (train, test) in enumerate(KFold(5, shuffle=True, random_state=42).split(drawn)):
        protocol = Shuffled(max_rows=most, fold=fold)
        protocol.rows = count
        found = {part: [n for n in drawn if protocol.part(row("same"), n) == part] for part in PARTS}
        assert found == {TRAIN: [drawn[n] for n in train], TEST: [drawn[n] for n in test], VALIDATION: []}


def test_a_validation_part_of_the_papers_protocol_leaves_its_test_part() -> None:
    pytest.importorskip("sklearn")
    without, with_one = parts(Shuffled(), 5000), parts(Shuffled(validation=0.1), 5000)
    assert [part == TEST for part in without] == [part == TEST for part in with_one]
    assert abs(with_one.count(VALIDATION) / 5000 - 0.1) < 0.025
    assert VALIDATION not in without


def test_fewer_rows_than_folds_are_told() -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(UserError, match=r"protocol\.folds=5: there are 3 labelled rows"):
        parts(Shuffled(), 3)


def test_everything_is_tested() -> None:
    protocol = Everything()
    assert protocol.parts == (TEST,)
    assert parts(protocol, 9) == [TEST] * 9


def test_parts_that_are_to_have_rows() -> None:
    assert Grouped().parts == PARTS
    assert Grouped(validation=0).parts == Shuffled().parts == (TRAIN, TEST)


WRONG: list[tuple[type[Protocol], dict[str, Any], str]] = [
    (Grouped, {"validation": -0.1}, r"protocol\.validation=-0\.1: must be a number from 0 to below 1"),
    (Grouped, {"test": 1}, r"protocol\.test=1: must be a number from 0 to below 1"),
    (Grouped, {"test": "0.2"}, r"protocol\.test=0\.2: must be a number from 0 to below 1"),
    (Grouped, {"test": True}, r"protocol\.test=True: must be a number from 0 to below 1"),
    (Grouped, {"test": float("nan")}, r"protocol\.test=nan: must be a number from 0 to below 1"),
    (Grouped, {"test": None}, r"protocol\.test=None: must be a number from 0 to below 1"),
    (Grouped, {"validation": 0.5, "test": 0.5}, "leave nothing to train with"),
    (Grouped, {"validation": 0.5, "folds": 2}, "leave nothing to train with"),
    (Shuffled, {"validation": 0.8}, "leave nothing to train with"),
    (Grouped, {"folds": 1}, r"protocol\.folds=1: must be a whole number of 2 or more"),
    (Grouped, {"folds": 2.5}, r"protocol\.folds=2\.5"),
    (Grouped, {"folds": 0}, r"protocol\.folds=0"),
    (Grouped, {"folds": "5"}, r"protocol\.folds=5: must be a whole number"),
    (Grouped, {"folds": 5, "fold": 5}, r"protocol\.fold=5: is one of 0 to 4$"),
    (Grouped, {"folds": 5, "fold": -1}, r"protocol\.fold=-1"),
    (Grouped, {"folds": 5, "fold": None}, r"protocol\.fold=None"),
    (Grouped, {"fold": 1}, r"protocol\.fold=1: is one of 0 to 0; it counts with protocol\.folds= only"),
    (Grouped, {"max_rows": 0}, r"protocol\.max_rows=0"),
    (Grouped, {"max_rows": 1e5}, r"protocol\.max_rows=100000\.0"),
    (Everything, {"max_rows": True}, r"protocol\.max_rows=True"),
    (Everything, {"seed": "x"}, r"protocol\.seed=x: must be a whole number"),
    (Grouped, {"by": ""}, r"protocol\.by=: must be a column"),
    (Grouped, {"by": ["evidence", "pmid"]}, r"protocol\.by=\['evidence', 'pmid'\]: must be a text"),
    (Shuffled, {"folds": None}, r"protocol\.folds=None: must be a whole number of 2 or more"),
    (Shuffled, {"max_rows": None}, r"protocol\.max_rows=None: must be a whole number of 1 or more"),
    (Shuffled, {"fold": 5}, r"protocol\.fold=5: is one of 0 to 4"),
]


@pytest.mark.parametrize(("kind", "settings", "message"), WRONG)
def test_what_makes_no_protocol(kind: type[Protocol], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind(**settings)


def test_the_name_tells_what_decides() -> None:
    assert Grouped(by="pmid", validation=0.15, test=0.25, max_rows=5000, seed=3).name == (
        "grouped by pmid, test 0.25, validation 0.15, 5,000 rows, hash seed 3"
    )
    assert "fold 3 of 10, validation 0.1" in Grouped(folds=10, fold=2).name
    assert "fold 2 of 4, validation 0.05, 99 rows" in Shuffled(folds=4, fold=1, validation=0.05, max_rows=99).name
    assert Everything(max_rows=1000).name == "all labelled rows, 1,000 drawn"


def made(folder: Path, *arguments: str) -> Protocol:
    (folder / "primary.yaml").write_text(
        f"defaults: [{{protocol: '???'}}, _self_]\nhydra: {{searchpath: ['file://{CONFIGS}']}}\n"
    )
    with initialize_config_dir(str(folder), version_base="1.3"):
        protocol = instantiate(compose("primary", list(arguments)).protocol, _convert_="all")
    assert isinstance(protocol, Protocol)
    return protocol


def test_every_yaml_is_tried() -> None:
    assert set(YAMLS) == {path.stem for path in (CONFIGS / "protocol").glob("*.yaml")}


@pytest.mark.parametrize("name", YAMLS)
def test_every_yaml_makes_a_protocol_that_tells_itself(tmp_path: Path, name: str) -> None:
    protocol = made(tmp_path, f"protocol={name}")
    assert protocol.name == YAMLS[name]
    assert made(tmp_path, f"protocol={name}", "protocol.max_rows=77", "protocol.seed=5").max_rows == 77


@pytest.mark.parametrize("name", sorted(set(YAMLS) - {"folds"}))
def test_every_yaml_gives_the_defaults(tmp_path: Path, name: str) -> None:
    settings: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / "protocol" / f"{name}.yaml"))
    del settings["_target_"]
    parameters = inspect.signature(type(made(tmp_path, f"protocol={name}"))).parameters
    assert settings == {key: parameter.default for key, parameter in parameters.items()}


def test_folds_over_the_command_line(tmp_path: Path) -> None:
    assert made(tmp_path, "protocol=folds", "protocol.fold=4").name.startswith("grouped by evidence, fold 5 of 5")
