"""In which forms people have INDRA statements: answers, dictionaries, indented objects, and what is none of them."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bel_graphs import FORMS as BEL_FORMS
from bel_graphs import GRAPH, written

from stonkgs.errors import UserError
from stonkgs.source.base import SplitRows
from stonkgs.source.indra import IndraSource
from stonkgs.statement import Rejection, Statement

JSON = dict[str, Any]
Write = Callable[[list[JSON]], str]
HASHES = sorted(["-10700327527421433", "5", "33041034498424", "-1"])


def statement(name: str) -> JSON:
    """With its type first, as INDRA writes it."""
    agents = {role: {"name": word, "db_refs": {"TEXT": word}} for role, word in (("subj", name), ("obj", "other"))}
    return {"type": "Activation", **agents, "belief": 0.9, "evidence": [{"text": f"{{[ {name}", "pmid": name}]}


def keyed(statements: list[JSON]) -> dict[str, JSON]:
    return dict(zip(HASHES, statements, strict=False))


def lines(values: list[Any], indent: int | None = None) -> str:
    return "".join(json.dumps(value, indent=indent) + "\n" for value in values)


def answer(statements: list[JSON]) -> JSON:
    """Of INDRA DB's query/statements."""
    counts = {"evidence_counts": dict.fromkeys(HASHES, 180), "source_counts": {HASHES[0]: {"reach": 180}}}
    query = {"query_json": {"class": "HasType", "constraint": {"stmt_types": ["Activation"]}}}
    return {"results": keyed(statements), "limit": 1, "offset": None, **query, **counts, "result_type": "statements"}


def halves(statements: list[JSON]) -> list[list[JSON]]:
    return [statements[:2], statements[2:]]


FORMS: dict[str, Write] = {
    "results": lambda some: json.dumps(answer(some)),
    "results, sorted": lambda some: json.dumps(answer(some), sort_keys=True, indent=1),
    "results as a list": lambda some: json.dumps({"results": some, "limit": 1}),
    "results and statements": lambda some: json.dumps({"statements": keyed(some), **answer(some)}),
    "statements behind results": lambda some: json.dumps({**answer(some), "statements": some}),
    "no statements but results": lambda some: json.dumps({"statements": [], **answer(some)}),
    "no results but statements": lambda some: json.dumps({"results": {}, "statements": keyed(some)}, indent=2),
    "under data": lambda some: json.dumps({"status": {"code": 200}, "data": answer(some)}),
    "deep": lambda some: json.dumps({"a": [{"b": 1}], "response": {"took": 3, "data": {"statements": some}}}),
    "statements in results": lambda some: json.dumps({"results": {"statements": some, "total": 3}}),
    "under another word": lambda some: json.dumps({"model": {"name": "x"}, "stmts": some}),
    "by hash": lambda some: json.dumps(keyed(some)),
    "by hash, sorted": lambda some: json.dumps(keyed(some), sort_keys=True, indent=1),
    "by id": lambda some: json.dumps(
        {f"{n:08}-2439-4dca-9b4d-0e4f4f4f4f4f": one for n, one in enumerate(some)}, indent=2
    ),
    "by hash under a word": lambda some: json.dumps({"statements_by_hash": keyed(some), "total": 4}),
    "sorted lines": lambda some: "".join(json.dumps(one, sort_keys=True) + "\n" for one in some),
    "answer a line": lambda some: lines([answer(half) for half in halves(some)]),
    "statements a line": lambda some: lines([{"statements": half} for half in halves(some)]),
    "by name": lambda some: json.dumps(dict(zip(["first", "b", "c", "d"], some, strict=False)), indent=1),
    "array a line": lambda some: lines([*halves(some), []]),
    "objects on one line": lambda some: " ".join(json.dumps(one) for one in some),
    "objects without a space": lambda some: "".join(json.dumps(one) for one in some) + "\n",
    "hash a line": lambda some: lines([{key: one} for key, one in keyed(some).items()]),
    "answers in an array": lambda some: json.dumps([answer(half) for half in halves(some)]),
    "indented one after another": lambda some: lines(some, indent=2),
    "indented, not divided": lambda some: "".join(json.dumps(one, indent=1, sort_keys=True) for one in some),
    "indented answers": lambda some: lines([answer(half) for half in halves(some)], indent=4),
    "indented with tabs": lambda some: "\n".join(json.dumps(one, indent="\t") for one in some),
}
PACK: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "bom": lambda text: b"\xef\xbb\xbf\n" + text.encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
}


def outcome(path: Path, rows: int = 1, **settings: Any) -> tuple[list[str], list[Rejection]]:
    """The names of the rows, and what is rejected; the same for any size of splits."""
    source = IndraSource(path=str(path), **settings)
    reader = source.reader(source.plan(rows))
    records = [record for split in reader.plan for record in SplitRows(reader.read(split))]
    names = [str(record.extra["pmid"]) for record in records if isinstance(record, Statement)]
    return names, [record for record in records if isinstance(record, Rejection)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pack", PACK)
def test_every_form_gives_each_statement_once(tmp_path: Path, form: str, pack: str) -> None:
    path = tmp_path / "statements"
    path.write_bytes(PACK[pack](FORMS[form]([statement(name) for name in "abcd"])))
    assert outcome(path) == outcome(path, 9) == (list("abcd"), [])


@pytest.mark.parametrize("form", [form for form in FORMS if "a line" not in form and "array" not in form])
def test_one_statement_in_every_form(tmp_path: Path, form: str) -> None:
    path = tmp_path / "statements"
    path.write_text(FORMS[form]([statement("a")]))
    assert outcome(path) == (["a"], [])


@pytest.mark.parametrize("form", [form for form in FORMS if "answers" not in form and "a line" not in form])
def test_an_answer_longer_than_a_record_may_be(tmp_path: Path, form: str) -> None:
    some = [statement(name) for name in "abcd"]
    path = tmp_path / "statements"
    path.write_text(FORMS[form](some))
    assert outcome(path, max_record=600) == (list("abcd"), [])


def test_of_several_in_a_record_one_that_cannot_be_used_costs_no_other(tmp_path: Path) -> None:
    bad = statement("b") | {"obj": None}
    path = tmp_path / "statements"
    path.write_text(lines([answer([statement("a"), bad, statement("c")]), answer([]), statement("d")]))
    names, refused = outcome(path)
    assert names == list("acd")
    assert [one.reason for one in refused] == ["statement 2: Activation without an object ('obj')"]
    assert refused[0].line == 0


@pytest.mark.parametrize("start", [b'{"type": "Activation", "subj"', b"{\n", b'{"a": {', b'{"x": "'])
def test_a_first_line_that_is_damaged_costs_itself_alone(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "statements"
    path.write_bytes(start + b"\n" + lines([statement(name) for name in "abc"]).encode())
    names, refused = outcome(path)
    assert names == list("abc")
    assert [one.offset for one in refused] == [0]


def test_an_indented_statement_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "statements"
    path.write_text(lines([statement("a"), statement("b")], indent=1)[:-9])
    names, refused = outcome(path)
    assert names == ["a"]
    assert ["the brackets do not match" in one.reason for one in refused] == [True]


REACH: list[Any] = [
    {"events": {"frames": []}, "entities": {"frames": []}, "sentences": {"frames": []}},
    {"sentences": {"object-type": "frame-collection", "frames": [{"type": "x"}]}, "events": {}},
    {
        "object-type": "frame-collection",
        "object-meta": {"component": "Reach"},
        "frames": [{"frame-type": "event-mention"}],
    },
]


@pytest.mark.parametrize("value", REACH)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("pack", PACK)
def test_what_reach_writes_is_told_in_one_line(tmp_path: Path, value: JSON, indent: int | None, pack: str) -> None:
    path = tmp_path / "reach.json"
    path.write_bytes(PACK[pack](json.dumps(value, indent=indent)))
    with pytest.raises(UserError, match=r"reach\.json: is the output of Reach itself.* read it with INDRA") as error:
        IndraSource(path=str(path)).plan()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", [form for form in BEL_FORMS if form != "in an answer"])  # begins like any answer
def test_a_bel_graph_is_told_with_its_source(tmp_path: Path, form: str) -> None:
    path = written(tmp_path, BEL_FORMS[form](GRAPH))
    with pytest.raises(UserError, match=r"holds no INDRA statements\. It looks like a BEL graph: source=bel"):
        IndraSource(path=path).plan()


def test_an_indented_object_of_another_kind_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"@context": {"a": 1}, "@type": "Corpus", "documents": [{"x": 1}]}, indent=2))
    with pytest.raises(UserError, match="one JSON object without INDRA statements; its keys are '@context', '@type'"):
        IndraSource(path=str(path)).plan()
