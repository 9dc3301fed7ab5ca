"""INDRA statements in a notebook."""

from typing import Any

import pytest

from stonkgs.errors import UserError
from stonkgs.indra.convert import Converter, is_statement
from stonkgs.rows.rows import windows
from stonkgs.statement import Statement

JSON = dict[str, Any]

AB: JSON = {"type": "Activation", "subj": {"name": "A"}, "obj": {"name": "B"}, "matches_hash": "12"}


class OfIndra:
    """What is known of INDRA's classes: their module, and `to_json`."""

    def __init__(self, json: JSON) -> None:
        self.json = json

    def to_json(self) -> JSON:
        """The statement's JSON."""
        return self.json


OfIndra.__module__ = "indra.statements.statements"


def rows(statement: Any) -> list[Statement]:
    return [row for window in windows([statement], size=2, columns=None, on_rejected=None) for row in window]


def test_rows_of_a_statement_in_memory() -> None:
    whole = AB | {"evidence": [{"text": "x"}, {}]}
    with pytest.warns(UserWarning, match="1 evidence without text"):
        [row] = rows(whole)
    with pytest.warns(UserWarning, match="1 evidence without text"):
        assert rows(OfIndra(whole)) == [row]
    assert [row.evidence for row in Converter(missing_text="keep")(whole)] == ["x", "No evidence text."]  # type: ignore[union-attr]
    complex_: JSON = {"type": "Complex", "members": [{"name": "A"}, {"name": "B"}], "evidence": [{"text": "x"}]}
    with pytest.warns(UserWarning, match="1 Complex"):
        assert rows(complex_) == []
    assert len(list(Converter(complexes="pairs")(complex_))) == 1


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (OfIndra(7), "not an object but a number"),  # type: ignore[arg-type]
        (AB | {"subj": {}}, "subj has no name"),
        (AB | {"evidence": [{"text": "x"}, 7]}, "evidence 2 of 2: a number, not an object"),
    ],
)
def test_no_rows_of_a_statement_in_memory(statement: Any, reason: str) -> None:
    with pytest.raises(UserError, match=f"^row 1: {reason}; mend it, or go on without: on_rejected=print$"):
        rows(statement)


@pytest.mark.parametrize(
    "row",
    [
        OfIndra({}),
        type("Derived", (OfIndra,), {"__module__": "mine"})({}),
        AB,
        {"type": "Complex", "members": []},
        {"type": "x", "evidence": []},
        {"type": "Unresolved", "belief": 1},
    ],
)
def test_is_a_statement(row: Any) -> None:
    assert is_statement(row)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"type": "Activation"},
        {"type": 7, "subj": {}},
        {"subj": {}, "obj": {}},
        {"type": "x", "source": "A", "target": "B", "evidence": "x", "belief": 1},
        ("A", "B", "x"),
        Statement("A", "B", "x"),
        type("Indra", (), {"__module__": "indra.statements"})(),
        type("Other", (), {"__module__": "indrani.statements", "to_json": lambda _: AB})(),
        None,
    ],
)
def test_is_no_statement(row: Any) -> None:
    assert not is_statement(row)
