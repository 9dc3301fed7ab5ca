"""BEL graphs with something wrong: each edge that cannot be used is told where it stands, and the rest goes on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bel_graphs import (
    BEL,
    EDGE,
    FORMS,
    GRAPH,
    INDRA,
    IS_A,
    METADATA,
    NODES,
    NUMBERED,
    PLAIN,
    Read,
    Write,
    forms,
    nodelink,
    ordered,
    sbel,
    tallied,
    written,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stonkgs.errors import UserError
from stonkgs.source.base import Source
from stonkgs.source.bel import BelSource
from stonkgs.source.nodelink import LONGEST_NODE
from stonkgs.statement import Rejection, Statement
from stonkgs.tables.columns import as_columns


@pytest.mark.parametrize("broken", [b'"incr"eases"', b'{"increases"', b'"increases}'])
def test_an_edge_that_is_not_closed_costs_none_before_it(tmp_path: Path, read: Read, broken: bytes) -> None:
    content = FORMS["nodelink"]([EDGE, IS_A, EDGE, EDGE, EDGE])
    at = content.index(b'"increases"', content.index(b'"isA"'))
    whole = read(BelSource(path=written(tmp_path, content)), 1)
    path = written(tmp_path, content[:at] + broken + content[at + len(b'"increases"') :])
    first, bad = read(BelSource(path=path), 1)
    assert first == whole[0]
    assert isinstance(bad, Rejection)
    assert "the rest of the file is not read" in bad.reason
    assert bad.offset == content.rindex(b"{", 0, at)


@forms
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"evidence": 5}, "evidence is a number, not a text"),
        ({"annotations": {"x": json.loads("[" * 250 + "]" * 250)}}, "nested more than 200 deep"),
        ({"source": None}, "source is null, not a node"),
        ({"target": True}, "target is true or false, not a node"),
        ({"target": [0]}, "target is a list, not a node"),
    ],
)
def test_a_bad_edge_is_told_and_the_rest_goes_on(
    tmp_path: Path, read: Read, form: str, change: dict[str, Any], reason: str
) -> None:
    path = written(tmp_path, FORMS[form]([EDGE, IS_A, EDGE | change, PLAIN]))
    first, bad, last = read(BelSource(path=path), 1)
    assert isinstance(first, Statement)
    assert isinstance(bad, Rejection)
    assert isinstance(last, Statement)
    assert bad.reason == (f"{reason}'s number" if "node" in reason and form in NUMBERED else reason)
    indexed = [record.index for record in tallied(BelSource(path=path), 1)[0] if isinstance(record, Rejection)]
    line = {"sbel": 4, "bare": 3}.get(form)
    assert bad.line == line
    assert indexed == [2 if line is None else None]
    assert bad.offset is not None
    assert (tmp_path / "graph.bel").read_bytes()[bad.offset :].startswith(bad.raw)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ({"modifier": "Activity", "effect": {}}, "source is a modifier whose node was lost"),
        ({"function": "Protein"}, "source is a node without bel"),
        ({"bel": ""}, "source is a node without bel"),
        ({"bel": 5}, "bel is a number, not a text"),
        (7, "source is a number, not a node"),
    ],
)
def test_a_lost_node_of_sbel(tmp_path: Path, read: Read, node: Any, reason: str) -> None:
    lost = {"source": node, "target": NODES[0], "evidence": "x"}
    bad, good = read(BelSource(path=written(tmp_path, sbel([lost, EDGE]))), 9)
    assert isinstance(good, Statement)
    assert isinstance(bad, Rejection)
    assert (bad.reason, bad.line) == (reason, 2)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (3, "source is 3, but there are 3 nodes, from 0"),
        (-1, "source is -1, but there are 3 nodes, from 0"),
        (10**99, "source is a huge number, but there are 3 nodes, from 0"),
        (1.0, "source is a number, not a node's number"),
        ("0", "source is a text, not a node's number"),
    ],
)
def test_a_number_of_no_node(tmp_path: Path, read: Read, number: Any, reason: str) -> None:
    bad, good = read(BelSource(path=written(tmp_path, nodelink([EDGE | {"source": number}, PLAIN]))), 9)
    assert isinstance(good, Statement)
    assert isinstance(bad, Rejection)
    assert bad.reason == reason


@pytest.mark.parametrize(
    "node",
    [{}, {"bel": 5}, {"bel": ""}, {"bel": "x" * (LONGEST_NODE + 1)}, [], [{"bel": "x"}], "", "x" * 70_000],
)
def test_a_node_without_bel_spoils_its_own_edges_alone(tmp_path: Path, read: Read, node: Any) -> None:
    graph = nodelink([EDGE, PLAIN, EDGE | {"source": 1}], nodes=[node, *NODES[1:]])
    good, *_ = records = read(BelSource(path=written(tmp_path, graph.replace(b'"source": 1,', b'"source": 0,'))), 1)
    assert good == Statement(BEL[2], BEL[1], EDGE["evidence"], good.extra if isinstance(good, Statement) else {})
    reason = f"source is node 0, which has no bel of 1 to {LONGEST_NODE} characters"
    assert [record.reason for record in records if isinstance(record, Rejection)] == [reason, reason]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (nodelink([EDGE], nodes=[NODES[0], 7, NODES[1]]), "in the list of nodes: not an object"),
        (nodelink([EDGE], nodes=[*BEL, 7]), "in the list of nodes: not an object"),
        (nodelink([EDGE], nodes={}), "links, but no list of nodes"),
        (nodelink([EDGE], links={}), "nodes, but no list of links"),
        (nodelink([EDGE]).partition(b'"links"')[0], "nodes, but no list of links"),
        (ordered([EDGE]).partition(b'"nodes"')[0], "links, but no list of nodes"),
        (ordered([EDGE])[:-20], "in the list of nodes: "),
        (b'[{"type": "Complex"}]', r"holds no BEL graph: it starts with '\[\{.* an object a line"),
        (b'{"subj": 1}\n', "holds no BEL graph: it starts with .*source=jsonl"),
        (b'[{"type": "Complex", "members": [{"name": "A"}]}]', "holds no BEL graph: .*source=indra"),
        (b"source\ttarget\tevidence\n", "holds no BEL graph: it starts with"),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        BelSource(path=written(tmp_path, content)).plan(9)
    assert "\n" not in str(error.value)


def test_more_nodes_than_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Read) -> None:
    source = BelSource(path=written(tmp_path, nodelink(GRAPH)))
    monkeypatch.setattr("stonkgs.source.nodelink.MOST_NODES", 3)
    assert len(read(source, 9)) == 3
    monkeypatch.setattr("stonkgs.source.nodelink.MOST_NODES", 2)
    with pytest.raises(UserError, match="more than 2 nodes"):
        source.plan(9)


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n\n"])
def test_lines_count_from_the_files_first(tmp_path: Path, read: Read, before: bytes) -> None:
    path = written(tmp_path, before + sbel([EDGE]) + b"\n\n{\n" + sbel([PLAIN]))
    first, broken, again, last = read(BelSource(path=path), 1)
    assert isinstance(first, Statement)
    assert isinstance(last, Statement)
    assert isinstance(broken, Rejection)
    assert isinstance(again, Rejection)
    above = before.count(b"\n")
    assert (broken.line, again.line) == (above + 5, above + 6)
    assert (broken.reason[:12], again.reason) == ("invalid JSON", "no source")


def test_a_long_line_of_metadata_is_passed_by(tmp_path: Path, read: Read) -> None:
    path = written(tmp_path, sbel([PLAIN, EDGE | {"evidence": "x" * 900}, PLAIN]).replace(b"PUBCHEM", b"P" * 600_000))
    first, long, last = read(BelSource(path=path, max_record=800), 1)
    assert isinstance(long, Rejection)
    assert (first, long.reason, long.line) == (last, "record of over 800 bytes", 3)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([0, 1, 2]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["bel", "identifier", "namespace", "stmt_hash", "belief"]), inner, max_size=3)
    ),
    max_leaves=6,
)
changes = st.dictionaries(
    st.sampled_from(["source", "target", "evidence", "relation", "citation", "annotations"]), values
)
edges = st.lists(changes.map(lambda change: EDGE | change) | st.sampled_from(GRAPH), min_size=1, max_size=6)


def kept(records: list[Statement | Rejection]) -> Iterator[Any]:
    """What does not hang on where the splits are."""
    for record in records:
        yield (record.offset, record.reason, record.raw) if isinstance(record, Rejection) else record


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([nodelink, lambda edges: sbel([json.dumps(METADATA), *edges])]), edges)
def test_any_edges_are_rows_or_told(tmp_path: Path, write: Write, edges: list[Any]) -> None:
    source = BelSource(path=written(tmp_path, write(edges)), missing_text="keep")
    records, without = tallied(source, 1)
    plan = source.plan()
    rows = [record for record in records if isinstance(record, Statement)]
    as_columns(rows, plan.schema, source.columns)
    assert list(kept(tallied(source, 1000)[0])) == list(kept(records))
    sound = sum(repr(edge) in map(repr, (EDGE, INDRA, PLAIN)) for edge in edges)  # == takes True for 1
    assert len(rows) >= sound
    extra = write is not nodelink  # a line of text above the edges
    assert len(records) + without.total() == len(edges) + extra


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FORMS)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=4))))
def test_damaged_graphs_end_in_records_or_one_line(
    tmp_path: Path, form: str, harm: list[tuple[float, int, bytes]]
) -> None:
    data = FORMS[form](GRAPH)
    for place, gone, new in harm:
        at = round(place * len(data))
        data = data[:at] + new + data[at + gone :]
    path = written(tmp_path, data)
    whole, split = (outcome(BelSource(path=path), rows) for rows in (1000, 1))
    assert whole == split
    assert "\n" not in whole


def outcome(source: Source, rows: int) -> list[Any] | str:
    """The records, or the line that the user sees instead."""
    try:
        return list(kept(tallied(source, rows)[0]))
    except UserError as error:
        return str(error)
