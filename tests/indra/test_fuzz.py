"""Whatever is put where in an INDRA statement: rows that can be written, or words for what is wrong with it."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.indra.convert import COLUMNS, Converter, Fault, Skipped
from stonkgs.statement import Statement, UnusableError

JSON = dict[str, Any]

#: Any text, halves of surrogate pairs too.
TEXTS = st.text(st.characters(exclude_categories=()), max_size=6)
WORDS = st.sampled_from(["", " ", "15", "S", "HGNC", "391", "9" * 5000, "\\", "\ud800", "phosphorylation", "\n"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | WORDS | st.just(2**70)
AGENT_KEYS = ["name", "db_refs", "mods", "mutations", "bound_conditions", "activity", "position", "residue", "mod_type"]
KEYS = TEXTS | st.sampled_from([*AGENT_KEYS, "agent", "is_bound", "HGNC", "UP", "text"])
WILD = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
#: Where in a statement something is put, counted over all places; and what, or that it is taken away.
CHANGES = st.lists(st.tuples(st.integers(0, 2**16), WILD | st.just(...)), min_size=1, max_size=3)
OPTIONS = st.fixed_dictionaries(
    {"missing_text": st.sampled_from(["skip", "keep"]), "complexes": st.sampled_from(["skip", "pairs"])}
)
#: Who acts, or is alone, in one type of statement or another.
ACTING = ("subj", "enz", "gef", "gap", "agent", "members")


@pytest.fixture(scope="session")
def statements(sound: list[JSON]) -> list[JSON]:
    """Sound statements of all types, of some of which no row comes."""
    agents = [statement["subj"] for statement in sound if "subj" in statement]
    complexes = [{**sound[0], "type": "Complex", "members": agents[number : number + 3]} for number in range(30)]
    rowless = [{**sound[0], "type": "Translocation", "agent": agents[0]}]
    return [*sound[:300], *complexes, *rowless]


def checked(statement: Any, options: dict[str, str]) -> list[Statement]:
    """The rows, each of which can be written."""
    try:
        found = list(Converter(**options)(statement))
    except UnusableError as error:
        reasons, rows = [str(error)], []
    else:
        reasons = [one.reason for one in found if isinstance(one, Skipped | Fault)]
        rows = [one for one in found if isinstance(one, Statement)]
    for reason in reasons:
        assert 0 < len(reason) < 1000
        assert reason.isprintable()
    for row in rows:
        assert list(row.extra) == COLUMNS.names
        for value in (row.source, row.target, row.evidence):
            assert value.encode().decode() == value
        pa.RecordBatch.from_pylist([row.extra], COLUMNS)
    return rows


def changed(statement: JSON, changes: list[tuple[int, Any]]) -> JSON:
    """A copy of the statement with something else in some of its places."""
    holder = {"statement": copy.deepcopy(statement)}
    for where, value in changes:
        places = list(_places(holder))
        place, key = places[where % len(places)]
        if value is not ...:
            place[key] = value
        elif place is not holder:
            del place[key]
    return holder["statement"]


def _places(holder: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
        yield holder, key
        if isinstance(value, dict | list):
            yield from _places(value)


@settings(max_examples=1500, deadline=None)
@given(number=st.integers(0, 330), changes=CHANGES, options=OPTIONS)
def test_damaged_statements(
    statements: list[JSON], number: int, changes: list[tuple[int, Any]], options: dict[str, str]
) -> None:
    checked(changed(statements[number], changes), options)


@settings(max_examples=300, deadline=None)
@given(statement=WILD, options=OPTIONS)
def test_no_statements(statement: Any, options: dict[str, str]) -> None:
    assert checked(statement, options) == []


@settings(max_examples=300, deadline=None)
@given(number=st.integers(0, 330), key=KEYS, value=WILD, options=OPTIONS)
def test_nobody_who_acts(statements: list[JSON], number: int, key: str, value: Any, options: dict[str, str]) -> None:
    statement = {**statements[number], key: value}
    for role in ACTING:
        statement.pop(role, None)
    assert checked(statement, options) == []


@settings(max_examples=200, deadline=None)
@given(number=st.integers(0, 299), changes=CHANGES)
def test_hashes_do_not_depend_on_the_order_of_keys(
    statements: list[JSON], number: int, changes: list[tuple[int, Any]]
) -> None:
    statement = changed(statements[number], changes)
    assert checked(statement, {}) == checked(_turned(statement), {})


def _turned(value: Any) -> Any:
    """The same JSON with its objects' keys the other way round, but for contexts, which are kept as they are."""
    if isinstance(value, dict):
        return {key: item if key == "context" else _turned(item) for key, item in reversed(value.items())}
    return [_turned(item) for item in value] if isinstance(value, list) else value


def test_nothing_is_changed_in_a_statement(statements: list[JSON]) -> None:
    before = json.dumps(statements)
    for statement in statements:
        checked(statement, {"complexes": "pairs"})
    assert json.dumps(statements) == before
