"""JSONL: planned columns, what goes to `extra`, and what is rejected."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stonkgs.errors import UserError
from stonkgs.source.base import Source
from stonkgs.source.jsonl import JsonlSource, parse_object
from stonkgs.statement import Rejection, Statement
from stonkgs.tables.columns import is_json

Read = Callable[[Source, int], list[Statement | Rejection]]
ROLES = {"source": "s", "target": "t", "evidence": "e"}


def written(folder: Path, *records: Any, name: str = "rows.jsonl") -> str:
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    (folder / name).write_bytes(b"\n".join(lines))
    return str(folder / name)


def extras(records: list[Statement | Rejection]) -> list[dict[str, Any]]:
    assert all(isinstance(record, Statement) for record in records), records
    return [dict(record.extra) for record in records if isinstance(record, Statement)]


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([True, None], pa.bool_()),
        ([1, -(2**63), 2**63 - 1], pa.int64()),
        ([1.5, 2**53, None], pa.float64()),
        (["x", ""], pa.string()),
        ([1.5, 2**53 + 1], None),
        ([2**63], None),
        ([1, True], None),
        (["x", 1], None),
        ([[1]], None),
        ([{"a": -0.0}], None),
        ([None], None),
    ],
)
def test_a_columns_type_holds_its_first_values(tmp_path: Path, read: Read, values: list[Any], type_: Any) -> None:
    source = JsonlSource(path=written(tmp_path, *({**ROLES, "x": value} for value in values)))
    found = [extra["x"] for extra in extras(read(source, 2))]
    plan = source.plan()
    field = plan.schema.field("x")
    assert field.type == (type_ or pa.string())
    assert is_json(field) == (type_ is None)
    if type_ is None:
        assert found == [
            None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False) for value in values
        ]
    else:
        assert pa.array(found, type=field.type).to_pylist() == values


def test_what_was_not_planned_goes_to_extra(tmp_path: Path, read: Read) -> None:
    planned = [{"n": 1, "f": 0.5, **ROLES, "j": [1], "extra": "mine"}] * 1000
    late = {**ROLES, "n": "é", "f": 2**60, "j": {"a": 1}, "new": None, "extra": 7}
    source = JsonlSource(path=written(tmp_path, *planned, late, {**ROLES, "f": 3}))
    records = extras(read(source, 100))
    plan = source.plan()
    assert plan.schema.names == ["n", "f", "source", "target", "evidence", "j", "extra"]
    assert records[0] == {"n": 1, "f": 0.5, "j": "[1]", "extra": '{"extra":"mine"}'}
    assert records[1000] == {
        "n": None, "f": None, "j": '{"a":1}', "extra": '{"new":null,"n":"é","f":1152921504606846976,"extra":7}'
    }  # fmt: skip
    assert records[1001] == {"n": None, "f": 3.0, "j": None, "extra": None}
    assert isinstance(records[1001]["f"], float)


def test_columns_come_from_the_first_records_over_all_files(tmp_path: Path, read: Read) -> None:
    paths = [written(tmp_path, {**ROLES, name: 1}, name=name) for name in ("a", "b")]
    assert extras(read(JsonlSource(path=paths), 9)) == [
        {"a": 1, "b": None, "extra": None},
        {"a": None, "b": 1, "extra": None},
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"source": "s", "target": "t"}, "no 'evidence'"),
        ({**ROLES, "evidence": None}, "'evidence' is null"),
        ({**ROLES, "source": 5}, "'source' is a number, not a string"),
        ({**ROLES, "source": {}}, "'source' is an object, not a string"),
        ([1], "not an object but a list"),
        (b"null", "not an object but null"),
        (b'{"source": ', "invalid JSON: Expecting value at character 12"),
        (b"\xff", "not UTF-8: byte 1 of the record is 0xff"),
        (b"[" * 100_000, "nested more than 200 deep"),
        ({**ROLES, "x": eval("[" * 90 + "]" * 90)}, None),
        (b'{"x": ' + b"[" * 200 + b"]" * 200 + b"}", "nested more than 200 deep"),
        (b'{"source": "\\ud800"}', "half a surrogate pair, \\ud800, is no character"),
        (b'{"\\udc00": 1}', "half a surrogate pair, \\udc00, is no character"),
        ({**ROLES, "x": "😀"}, None),
        (b"   ", "invalid JSON: Expecting value at character 4"),
        (b'{"x": NaN}', "NaN is no JSON value"),
        (b'{"x": [-Infinity]}', "-Infinity is no JSON value"),
        (b'{"x": 1} {}', "invalid JSON: Extra data at character 10"),
    ],
)
def test_reasons(tmp_path: Path, read: Read, record: Any, reason: str | None) -> None:
    path = written(tmp_path, ROLES, b"", record, ROLES)
    _, found, last = read(JsonlSource(path=path), 1)
    assert isinstance(last, Statement)
    if reason is None:
        assert isinstance(found, Statement)
        return
    assert isinstance(found, Rejection)
    assert found.reason == reason
    assert (found.line, found.offset) == (3, len(json.dumps(ROLES)) + 2)


def test_empty_strings_are_valid_and_the_last_of_equal_keys_counts(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path, b'{"source": "a", "target": "", "evidence": "", "source": "b"} ')
    (record,) = read(JsonlSource(path=path), 9)
    assert isinstance(record, Statement)
    assert (record.source, record.target, record.evidence) == ("b", "", "")


@pytest.mark.parametrize(("lines", "rejected"), [([], 0), ([b"", b"\r", b""], 0), ([b"source\ttarget", b"[]"], 2)])
def test_without_a_usable_record_the_columns_are_the_roles(
    tmp_path: Path, read: Read, lines: list[bytes], rejected: int
) -> None:
    source = JsonlSource(path=written(tmp_path, *lines), columns={"evidence": "text"})
    records = read(source, 9)
    plan = source.plan()
    assert plan.schema.names == ["source", "target", "text", "extra"]
    assert [type(record) for record in records] == [Rejection] * rejected


NUMBERS = ["0.86", "1.50", "1e999", "-1E-400", "0.1234567890123456789", "1e22", "123456789012345678.5", "-0.0", "3.0e2"]


@pytest.mark.parametrize("late", [False, True])
def test_numbers_keep_their_value(tmp_path: Path, read: Read, late: bool) -> None:
    before = [{**ROLES, "x": 0.5}] * 1000 if late else []
    rows = [json.dumps(ROLES)[:-1].encode() + b', "x": %s}' % number.encode() for number in NUMBERS]
    path = written(tmp_path, *before, *rows)
    for number, extra in zip(NUMBERS, extras(read(JsonlSource(path=path), 9999))[len(before) :], strict=True):
        kept = extra["x"]
        if late and kept is None:
            kept = json.loads(extra["extra"], parse_float=str)["x"]
        assert Decimal(str(kept)) == Decimal(number)


HUGE = ["1" * 5000, "-" + "9" * 4301, "1e9999999999999999999", "1.5E-9999999999999999999", "0.1" + "0" * 5000 + "1"]


@pytest.mark.parametrize("number", HUGE, ids=range(len(HUGE)))
def test_a_number_of_any_length_costs_no_row(tmp_path: Path, read: Read, number: str) -> None:
    line = json.dumps(ROLES)[:-1] + f', "x": {number}, "y": [1, {{"z": {number}}}]}}'
    (extra,) = extras(read(JsonlSource(path=written(tmp_path, line.encode())), 9))
    assert extra["x"] == number
    assert extra["y"] == f'[1,{{"z":{number}}}]'


def test_a_number_that_is_no_float_is_kept_at_any_depth(tmp_path: Path, read: Read) -> None:
    line = json.dumps(ROLES)[:-1] + ', "x": {"é\\"": [1e999, "a", null, 0.5, {}]}}'
    (extra,) = extras(read(JsonlSource(path=written(tmp_path, line.encode())), 9))
    assert extra["x"] == '{"é\\"":[1e999,"a",null,0.5,{}]}'


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"extra": None}, None),
        ({"extra": {"a": 1}}, {"a": 1}),
        ({"extra": {"extra": "mine"}}, {"extra": "mine"}),
        ({"extra": "mine"}, {"extra": "mine"}),
        ({"n": "x", "extra": {"n": 5}}, {"n": "x", "extra": {"n": 5}}),
        ({"new": 1, "extra": {"old": 2}}, {"new": 1, "old": 2}),
    ],
)
def test_the_inputs_own_extra_nests_no_deeper(tmp_path: Path, read: Read, given: Any, kept: Any) -> None:
    planned = [{**ROLES, "n": 1}] * 1000
    for _ in range(2):
        extra = extras(read(JsonlSource(path=written(tmp_path, *planned, {**ROLES, **given})), 9999))[-1]["extra"]
        assert (extra and json.loads(extra)) == kept
        given = {"extra": kept}


def test_a_file_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column 'evidence'"):
        JsonlSource(path=written(tmp_path, {"source": "s", "target": "t"})).plan(9)
    with pytest.raises(UserError, match="'extra'"):
        JsonlSource(path=written(tmp_path, {**ROLES, "extra": "x"}), columns={"evidence": "extra"}).plan(9)


def test_a_role_column_is_text_whatever_it_holds(tmp_path: Path, read: Read) -> None:
    source = JsonlSource(path=written(tmp_path, {**ROLES, "source": 1}, {"source": "s"}))
    records = read(source, 9)
    assert [record.reason for record in records if isinstance(record, Rejection)] == [
        "'source' is a number, not a string",
        "no 'target'",
    ]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "é", "extra"]), values), min_size=1, max_size=8), st.booleans()
)
def test_nothing_of_an_object_is_lost(tmp_path: Path, read: Read, objects: list[dict[str, Any]], ascii_: bool) -> None:
    lines = [json.dumps({**record, **ROLES}, ensure_ascii=ascii_).encode() for record in objects]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stonkgs.source.jsonl.FIRST", 2)
        source = JsonlSource(path=written(tmp_path, *lines))
        found = extras(read(source, 1))
        schema = source.plan().schema
    for record, extra in zip(objects, found, strict=True):
        again: dict[str, Any] = json.loads(extra["extra"] or "{}")
        for name in schema.names:
            if name in extra and name != "extra" and extra[name] is not None:
                again[name] = json.loads(extra[name]) if is_json(schema.field(name)) else extra[name]
        assert flat(again) == flat(record)
        pa.table({name: [extra[name]] for name in extra}, schema=pa.schema([schema.field(name) for name in extra]))


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its nulls, and with an object `extra` one level up, if it has no name twice then."""
    extra = record.get("extra")
    if isinstance(extra, dict) and not extra.keys() & (record.keys() - {"extra"}):
        record = {key: value for key, value in record.items() if key != "extra"} | extra
    return {key: value for key, value in record.items() if value is not None}


def test_depth_does_not_hang_on_the_stack() -> None:
    text = '{"x": ' + "[" * 199 + "]" * 199 + "}"

    def deep(calls: int) -> dict[str, Any]:
        return deep(calls - 1) if calls else parse_object(text)

    assert deep(0) == deep(300)
