"""INDRA statements to rows: their columns, and what is skipped, unsound or too much."""

import json
import pickle
from decimal import Decimal
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
    assert only(AB | {"evidence": [{"text": "x", "context": context}]}).extra["context"] is None


#: INDRA's own hash of an evidence that has only the text "x".
ANEW = -4636446094340844311


@pytest.mark.parametrize(
    ("column", "given", "kept_as"),
    [
        ("pmid", 123, "123"),
        ("pmid", "", ""),
        ("pmid", None, None),
        ("pmid", 12345.0, "12345"),
        ("pmid", nan, None),
        ("pmid", 1.5, None),
        ("pmid", True, None),
        ("pmid", 10**500, None),
        ("pmid", ["1"], None),
        ("pmid", "\udfff", None),
        ("pmid", np.int64(123), "123"),
        ("pmid", np.str_("123"), "123"),
        ("source_hash", "-9223372036854775808", -(2**63)),
        ("source_hash", 2**63 - 1, 2**63 - 1),
        ("source_hash", None, None),
        ("source_hash", np.int64(-5), -5),
        ("source_hash", np.uint8(5), 5),
        ("source_hash", 5.0, 5),
        ("source_hash", 5.04012947811948e18, ANEW),
        ("source_hash", [], ANEW),
        ("source_hash", "", ANEW),
        ("source_hash", "1.5", ANEW),
        ("source_hash", 2**63, ANEW),
        ("source_hash", nan, ANEW),
        ("source_hash", True, ANEW),
        ("source_api", None, None),
        ("source_api", {}, None),
        ("source_api", np.str_("reach"), "reach"),
        ("context", None, None),
        ("context", {}, "{}"),
        ("context", [], None),
        ("context", "", None),
        ("context", 0, None),
        ("context", "mouse", '"mouse"'),
        ("context", {"x": [nan, {"y": -inf}]}, '{"x":[null,{"y":null}]}'),
        ("context", {"x": {1}}, None),
        ("context", {"\ud800": 1}, '{"\ufffd":1}'),
        ("context", {"x": np.array([1, 2]), "y": np.float32(0.5)}, '{"x":[1,2],"y":0.5}'),
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
        ({"belief": np.float32(0.5)}, 0.5),
        ({"belief": np.int64(1)}, 1.0),
        ({"belief": np.array(0.5)}, 0.5),
        ({"belief": Decimal("0.5")}, 0.5),
        ({"belief": "0.5"}, 0.5),
        ({"belief": "high"}, None),
        ({"belief": True}, None),
        ({"belief": [0.5]}, None),
    ],
)
def test_belief(given: JSON, kept_as: float | None) -> None:
    found = only(AB | given | {"evidence": [{"text": "x"}]}).extra["belief"]
    assert type(found) in (float, type(None))
    assert (type(found), found) == (type(kept_as), kept_as)


@pytest.mark.parametrize(
    ("given", "other", "kept_as"),
    [
        ({"matches_hash": "-12"}, 5, -12),
        ({"matches_hash": 0}, 5, 0),
        ({"matches_hash": np.int64(1234)}, 5, 1234),
        ({"matches_hash": 1234.0}, 5, 1234),
        ({"matches_hash": np.float64(-1234)}, 5, -1234),
        ({"matches_hash": np.str_("12")}, 5, 12),
        ({"matches_hash": 1234.5}, None, 9981624894579502),
        ({"matches_hash": 2.0**60}, None, 9981624894579502),
        ({"matches_hash": nan}, None, 9981624894579502),
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


def test_nan_is_null_wherever_it_stands() -> None:
    """A table of pandas has it in the place of each missing value."""
    given: JSON = {
        "type": "Phosphorylation",
        "enz": {"name": "A", "db_refs": {"UP": "P1", "HGNC": nan}, "mods": nan, "activity": nan, "location": nan},
        "sub": {"name": "B", "db_refs": nan, "mods": [{"mod_type": "methylation", "position": nan, "residue": nan}]},
        "residue": nan,
        "position": nan,
        "evidence": [{"text": "x", "pmid": nan, "source_api": nan}, {"text": nan}],
    }
    nulls = json.loads(json.dumps(given).replace("NaN", "null"))
    assert list(Converter()(given)) == list(Converter()(nulls))
    assert list(Converter()(AB | {"subj": nan, "evidence": [{"text": "x"}]})) == [
        Skipped("Activation without a subject")
    ]
    assert list(Converter()(AB | {"evidence": nan})) == [Skipped("no evidence")]


def test_numbers_and_texts_of_numpy_mean_what_pythons_do() -> None:
    site = {"mod_type": "phosphorylation", "residue": "S", "position": 473, "is_modified": True}
    enzyme: JSON = {"name": "A", "db_refs": {"UP": "P1", "CHEBI": ["15996"]}, "mods": [site]}
    bound = {"agent": enzyme, "is_bound": False}
    evidence = {"text": "x", "pmid": 7, "source_hash": -5, "context": {"x": [1, 0.5]}}
    plain: JSON = {
        "type": "Phosphorylation",
        "enz": {**enzyme, "bound_conditions": [bound]},
        "sub": {"name": "B", "mutations": [{"position": 600, "residue_from": "V", "residue_to": "E"}]},
        "residue": "T",
        "position": 185,
        "belief": 0.5,
        "evidence": [evidence, evidence],
    }
    assert list(Converter()(_of_numpy(plain))) == list(Converter()(plain))
    assert list(Converter()(_of_numpy(plain))) == list(Converter().from_json(json.loads(json.dumps(plain))))


def _of_numpy(value: Any) -> Any:
    """The same with numpy's types all over, as what was read through pandas has them."""
    if isinstance(value, dict):
        return {key: _of_numpy(item) for key, item in value.items()}
    if isinstance(value, list):
        array = np.empty(len(value), object)
        array[:] = [_of_numpy(item) for item in value]
        return array
    kinds: dict[type, Any] = {bool: np.bool_, int: np.int64, float: np.float32, str: np.str_}
    return kinds[type(value)](value)


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
