"""INDRA statements in each of their forms: the rows of the first implementation, and what is broken told apart."""

import csv
import gzip
import io
import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stonkgs.errors import UserError
from stonkgs.source.base import SplitRows
from stonkgs.source.indra import IndraSource
from stonkgs.statement import Rejection, Statement

JSON = dict[str, Any]
Write = Callable[[list[JSON]], bytes]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data[:999]) + gzip.compress(data[999:]),
    "zstd": lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True)),
}


def rest(statements: list[JSON]) -> bytes:
    """An answer of INDRA DB with other members before and after."""
    keyed = {str(number - 9): statement for number, statement in enumerate(statements)}
    before = {"limit": 3, "totals": {"a}": {"b": [1, {}]}}, "none": None, "some": [{"type": "x"}]}
    return json.dumps({**before, "statements": keyed, "sources": {"a": {"type": "b"}}, "end": True}).encode()


def copied(statements: list[JSON]) -> bytes:
    """A line each of psql's COPY: three numbers and the statement with its escapes."""
    texts = [json.dumps(one, ensure_ascii=False, indent=1) for one in statements]
    for plain, escaped in (("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t")):
        texts = [text.replace(plain, escaped) for text in texts]
    return "".join(f"{number}\t3\t\\N\t{text}\n" for number, text in enumerate(texts)).encode()


def table(statements: list[JSON]) -> bytes:
    out = io.StringIO(newline="")
    texts = [[number, json.dumps(one)] for number, one in enumerate(statements)]
    csv.writer(out, delimiter="\t", lineterminator="\n").writerows(texts)
    return out.getvalue().encode()


def jsonl(statements: list[JSON]) -> bytes:
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in statements)


def array(statements: list[JSON]) -> bytes:
    return json.dumps(statements, separators=(",", ":")).encode()


FORMS: dict[str, Write] = {
    "array": array,
    "indented": lambda statements: json.dumps(statements, indent=1).encode(),
    "crlf": lambda statements: json.dumps(statements, indent=2).replace("\n", "\r\n").encode(),
    "bom": lambda statements: b"\xef\xbb\xbf\n" + json.dumps(statements, ensure_ascii=False).encode(),
    "jsonl": jsonl,
    "rest": rest,
    "copied": copied,
    "table": table,
}


def statement(name: str, **more: Any) -> JSON:
    subject, object_ = ({"name": word, "db_refs": {"TEXT": word}} for word in (name, "other"))
    evidence = [{"source_api": "reach", "pmid": name, "text": f"Of {name}."}]
    return {"type": "Activation", "subj": subject, "obj": object_, "evidence": evidence, **more}


def written(folder: Path, data: bytes) -> str:
    (folder / "statements").write_bytes(data)
    return str(folder / "statements")


def outcome(source: IndraSource, rows: int) -> tuple[list[Statement], list[Rejection], Counter[str], int]:
    """Rows, rejections with their place in the file (from 0), what gave no row, and how many records there are."""
    found: list[Statement] = []
    refused: list[Rejection] = []
    without, count, above = Counter[str](), 0, 0
    reader = source.reader(source.plan(rows))
    for split in reader.plan:
        reading = SplitRows(reader.read(split))
        for record in reading:
            if isinstance(record, Statement):
                found.append(record)
                continue
            record.index = None if record.index is None else record.index + count
            record.line = None if record.line is None else record.line + above
            refused.append(record)
        assert reading.tally.records is not None
        count += reading.tally.records
        above += reading.tally.lines or 0
        without.update(reading.tally.without_row)
    return found, refused, without, count


def key(row: Statement, hashed: bool) -> tuple[Any, ...]:
    return (*([row.extra["stmt_hash"]] if hashed else []), row.extra["belief"], row.source, row.target, row.evidence)


@pytest.fixture(scope="module")
def recorded(golden: Path) -> tuple[list[JSON], Counter[tuple[Any, ...]]]:
    """The statements, and the rows of the first implementation."""
    with gzip.open(golden / "indra" / "rows.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = Counter(tuple(json.loads(line)) for line in lines)
    with gzip.open(golden / "indra" / "statements.json.gz") as file:
        return json.load(file), rows


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("packing", "rows"), [("plain", 7), ("plain", 10**6), ("gzip", 90), ("zstd", 300)])
def test_each_form_gives_the_recorded_rows(
    tmp_path: Path, recorded: tuple[list[JSON], Counter[tuple[Any, ...]]], form: str, packing: str, rows: int
) -> None:
    statements, expected = recorded
    path = written(tmp_path, PACK[packing](FORMS[form](statements)))
    found, refused, _, count = outcome(IndraSource(path=path, missing_text="keep"), rows)
    # A dump's first column is the hash of a statement that has none.
    hashed = form != "table"
    if not hashed:
        expected = Counter([one[1:] for one in expected.elements()])
    assert Counter(key(row, hashed) for row in found) == expected
    assert (len(refused), count) == (4, len(statements))


def test_the_recorded_file_itself(golden: Path, recorded: tuple[list[JSON], Counter[tuple[Any, ...]]]) -> None:
    source = IndraSource(path=str(golden / "indra" / "statements.json.gz"), missing_text="keep")
    found, *_ = outcome(source, 50)
    assert Counter(key(row, True) for row in found) == recorded[1]


def test_a_real_corpus(corpora: Path) -> None:
    source = IndraSource(path=str(corpora / "indra_hbp_statements.jsonl.gz"), missing_text="keep")
    found, refused, without, _ = outcome(source, 2048)
    assert (len(found), refused, without["Complex"]) == (49_453, [], 7351)


@pytest.mark.parametrize("write", [array, jsonl])
@pytest.mark.parametrize("rows", [1, 100])
def test_what_ended_the_first_implementation_among_good_ones(
    tmp_path: Path, golden: Path, write: Write, rows: int
) -> None:
    lines = (golden / "indra" / "hostile_statements.jsonl").read_text("utf-8").splitlines()
    hostile = [json.loads(line)["statement"] for line in lines]
    mixed = [one for number, bad in enumerate(hostile) for one in (statement(f"good {number}"), bad)]
    found, refused, *_ = outcome(IndraSource(path=written(tmp_path, write(mixed))), rows)
    names = [str(row.extra["pmid"]) for row in found]
    assert [name for name in names if name.startswith("good")] == [f"good {n}" for n in range(len(hostile))]
    assert (len(names) - len(hostile), len(refused)) == (5, 13)
    for one in refused:
        place = one.index if write is array else one.line
        assert place is not None
        assert place % 2 == 1
        assert json.loads(one.raw) == mixed[place]


BROKEN = {
    b"null": "not an object, but what stands between two items",
    b"[1]": "not an object but a list",
    b"{}": "no type",
    b'{"x": ' + b"[" * 300 + b"]" * 300 + b"}": "nested more than 200 deep",
    b'{"x": "\xff"}': "not UTF-8",
    b'{"x" 1}': "invalid JSON",
    b'{"x": {"y": 1]}': "invalid JSON",
    b'{"x": "' + b"y" * 3000 + b'"}': "record of over 2000 bytes",
}
#: Items behind which nobody can tell where the next one starts.
LOST = (b'{"type": "a"b"}', b'{"type": "a", "b": {"c": 1}')


@pytest.mark.parametrize(("bad", "reason"), BROKEN.items(), ids=range(len(BROKEN)))
@pytest.mark.parametrize("rows", [1, 100])
def test_an_item_that_is_broken_is_told_with_its_place(tmp_path: Path, bad: bytes, reason: str, rows: int) -> None:
    good = [json.dumps(statement(name)).encode() for name in "abc"]
    data = b"[" + b", ".join([good[0], bad, *good[1:]]) + b"]"
    limit = 2000 if len(bad) > 3000 and b"y" in bad else 1 << 24
    found, (refused,), *_ = outcome(IndraSource(path=written(tmp_path, data), max_record=limit), rows)
    assert [row.extra["pmid"] for row in found] == ["a", "b", "c"]
    assert (refused.index, refused.offset) == (1, data.index(bad))
    if reason != "no type":
        assert refused.reason.startswith(reason)


@pytest.mark.parametrize("bad", LOST)
@pytest.mark.parametrize("rows", [1, 100])
def test_where_brackets_are_lost_the_rest_of_the_file_is_one_rejection(tmp_path: Path, bad: bytes, rows: int) -> None:
    good = [json.dumps(statement(name)).encode() for name in "abc"]
    data = b"[" + b", ".join([*good[:2], bad, good[2]]) + b"]"
    found, (refused,), *_ = outcome(IndraSource(path=written(tmp_path, data)), rows)
    assert [row.extra["pmid"] for row in found] == ["a", "b"]
    assert (refused.index, refused.offset) == (2, data.index(bad))
    assert "the rest of the file is not read" in refused.reason
    assert refused.raw.startswith(bad)


strange = st.text(st.sampled_from('ab{}[]",\\é\n') | st.characters(codec="utf-8"), max_size=9)
spaces = st.sampled_from(["", " ", "\n", "\r\n\t"])


@settings(
    deadline=None, derandomize=True, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(strange, min_size=1, max_size=6), spaces, st.data(), st.integers(0, 255), st.integers(1, 4))
def test_a_changed_byte_costs_nothing_before_it(
    tmp_path: Path, names: list[str], space: str, data: st.DataObject, byte: int, rows: int
) -> None:
    texts = [json.dumps(statement(f"n{name}", belief=0.5), ensure_ascii=False).encode() for name in names]
    mark = f"{space},{space}".encode()
    content = bytearray(f"[{space}".encode() + mark.join(texts) + f"{space}]".encode())
    place = data.draw(st.integers(1, len(content) - 1))
    content[place] = byte
    if b"\0" in content:
        content[place] = ord("0")
    path = written(tmp_path, bytes(content))
    ends = [len(f"[{space}") + sum(map(len, texts[: n + 1])) + n * len(mark) for n in range(len(texts))]
    before = sum(end <= place for end in ends)
    found, refused, *_ = outcome(IndraSource(path=path), rows)
    assert [row.extra["pmid"] for row in found][:before] == [f"n{name}" for name in names[:before]]
    again = outcome(IndraSource(path=path), 100)
    assert (found, refused) == again[:2]


def test_statements_one_at_a_time(tmp_path: Path) -> None:
    path = written(tmp_path, array([statement("a"), {"type": "Complex", "members": []}, statement("b")]))
    reading = IndraSource(path=path).statements()
    assert next(reading).extra["pmid"] == "a"
    with pytest.raises(UserError, match=r"statements, byte \d+: Complex without members") as error:
        next(reading)
    assert "\n" not in str(error.value)
    refused: list[Rejection] = []
    rows = IndraSource(path=path).statements(on_rejected=refused.append)
    assert [row.extra["pmid"] for row in rows] == ["a", "b"]
    assert [one.reason for one in refused] == ["Complex without members"]


def test_objects_with_a_type_inside_a_statement_are_no_statements(tmp_path: Path) -> None:
    states = [{"type": "QUANT", "text": "more"}, {"type": "INC"}, {"type": "Event"}]
    statements = [statement(name) | {"annotations": states} for name in "abc"]
    found, refused, *_ = outcome(IndraSource(path=written(tmp_path, array(statements))), 1)
    assert ([row.extra["pmid"] for row in found], refused) == (["a", "b", "c"], [])


@pytest.mark.parametrize("odd", ['"\\ud800"', "1" * 5000, "-Infinity", "1e999", "[[]]", '{"x": NaN}'])
@pytest.mark.parametrize("write", [array, jsonl])
def test_odd_values_of_a_file_cost_no_sentence(tmp_path: Path, odd: str, write: Write) -> None:
    names = ("pmid", "source_hash", "source_api", "context", "annotations", "epistemics", "text_refs", "odd")
    evidences = [{"text": name, name: "ODD"} for name in names]
    one = statement("a") | {"evidence": evidences, "belief": "ODD", "matches_hash": "ODD", "id": "ODD"}
    path = written(tmp_path, write([one, statement("b")]).replace(b'"ODD"', odd.encode()))
    found, refused, *_ = outcome(IndraSource(path=path), 1)
    assert (refused, [row.evidence for row in found]) == ([], [*names, "Of b."])
    assert {row.extra["pmid"] for row in found} == {None, "b"}
    assert {row.extra["belief"] for row in found} == {None, 1.0}
    assert len({row.extra["stmt_hash"] for row in found}) == 2
    for row in found:
        assert row.extra["context"] is None or json.loads(row.extra["context"]) is not None


def test_a_source_pickles_in_the_midst(tmp_path: Path) -> None:
    source = IndraSource(path=written(tmp_path, array([statement(name) for name in "abc"])))
    reader = source.reader(source.plan(1))
    next(iter(reader))
    again = pickle.loads(pickle.dumps(reader))
    assert list(again) == list(reader)
    assert len(list(again)) == 3


@pytest.mark.parametrize("form", FORMS)
def test_a_limit_counts_statements(tmp_path: Path, form: str) -> None:
    written(tmp_path, FORMS[form]([statement(name) for name in "abc"]))
    for limit, names in ((1, "a"), (2, "ab"), (9, "abc")):
        found, *_ = outcome(IndraSource(path=str(tmp_path / "statements"), limit=limit), 5)
        assert [row.extra["pmid"] for row in found] == list(names)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"[]", b"[ ]\n", b'{"statements": {}}', b'{"a": 1, "statements": []}'])
def test_no_statements(tmp_path: Path, data: bytes) -> None:
    assert outcome(IndraSource(path=written(tmp_path, data)), 5) == ([], [], Counter(), 0)


def test_an_empty_object_is_a_statement_without_a_type(tmp_path: Path) -> None:
    found, refused, *_ = outcome(IndraSource(path=written(tmp_path, b"{}")), 5)
    assert (found, [one.line for one in refused]) == ([], [0])


@pytest.mark.parametrize("data", [b"source\ttarget\nx\ty\n", b"<html>", b"7", b'"text"'])
def test_a_file_of_another_sort(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UserError, match="statements: holds no INDRA statements: it starts with") as error:
        IndraSource(path=written(tmp_path, data)).plan(5)
    assert "\n" not in str(error.value)
