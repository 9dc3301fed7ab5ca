"""BEL graphs of PyBEL: both forms give the same rows."""

import gzip
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bel_graphs import (
    BEL,
    EDGE,
    FORMS,
    GRAPH,
    INDRA,
    IS_A,
    NOTHING,
    PLAIN,
    Read,
    forms,
    nodelink,
    sbel,
    tallied,
    text,
    written,
)

from stonkgs.errors import UserError
from stonkgs.source.base import ROLES
from stonkgs.source.bel import BelSource
from stonkgs.statement import Statement
from stonkgs.tables.columns import as_columns, is_json


@forms
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_rows_are_the_same_in_every_form(tmp_path: Path, form: str, pack: Callable[[bytes], bytes], rows: int) -> None:
    source = BelSource(path=written(tmp_path, pack(FORMS[form](GRAPH))))
    records, without = tallied(source, rows)
    assert records == [
        Statement(
            BEL[2],
            BEL[1],
            'HIF1A "raises" apoptosis {.',
            NOTHING
            | {"relation": "increases", "pmid": "123", "citation": "pubmed:123", "stmt_hash": -5}
            | {"annotations": text(EDGE["annotations"], compact=True)},
        ),
        Statement(
            BEL[0],
            BEL[1],
            "β lowers.",
            NOTHING
            | {"relation": "decreases", "citation": "other:reach:Unknown", "stmt_hash": -2938528489200048}
            | {"source_hash": -8464379108517716543}
            | {"belief": 0.86, "source_api": "reach", "annotations": text(INDRA["annotations"], compact=True)},
        ),
        Statement(BEL[1], BEL[2], "They go together.", {"relation": "correlation"} | NOTHING),
    ]
    assert without == {"unqualified edge": 2}


def test_columns_are_typed_and_in_order(tmp_path: Path, read: Read) -> None:
    source = BelSource(path=written(tmp_path, sbel(GRAPH)))
    records = [record for record in read(source, 9) if isinstance(record, Statement)]
    plan = source.plan()
    names = [*ROLES, "relation", "pmid", "citation", "stmt_hash", "belief", "source_api", "source_hash", "annotations"]
    assert plan.schema.names == names
    assert [name for name in names if is_json(plan.schema.field(name))] == ["annotations"]
    batch = as_columns(records, plan.schema, source.columns)
    assert batch.column("stmt_hash").to_pylist() == [-5, -2938528489200048, None]
    assert batch.schema.field("belief").type == pa.float64()


@forms
@pytest.mark.parametrize("evidence", ["", None, "No evidence text."])
def test_missing_text_is_counted_or_kept(tmp_path: Path, form: str, evidence: Any) -> None:
    path = written(tmp_path, FORMS[form]([EDGE | {"evidence": evidence}, PLAIN, IS_A]))
    records, without = tallied(BelSource(path=path), 9)
    assert len(records) == 1
    assert without == {"evidence without text": 1, "unqualified edge": 1}
    records, without = tallied(BelSource(path=path, missing_text="keep"), 9)
    assert isinstance(records[0], Statement)
    assert (records[0].evidence, len(records)) == ("No evidence text.", 2)
    assert without == {"unqualified edge": 1}


def test_another_word_for_missing_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source\.missing_text=drop: must be one of skip, keep"):
        BelSource(path=str(tmp_path), missing_text="drop").plan(9)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content", [b"", b"\n\r\n", sbel([]), sbel([]).rstrip(), b"\xef\xbb\xbf" + sbel([]), nodelink([])]
)
def test_a_graph_without_edges_has_no_rows(tmp_path: Path, content: bytes) -> None:
    assert tallied(BelSource(path=written(tmp_path, content)), 9) == ([], Counter())


@pytest.mark.parametrize(
    ("annotations", "found"),
    [
        ({"stmt_hash": {"1": True, "2": True}}, (None, None, None, None)),
        ({"stmt_hash": {"9" * 30: True}, "belief": {"inf": True}, "source_api": {}}, (None, None, None, None)),
        ({"stmt_hash": ["x"], "belief": ["high"], "source_api": [5], "source_hash": {"": True}}, (None,) * 4),
        ({"stmt_hash": [7], "belief": [1], "source_api": ["reach"], "source_hash": [-8]}, (7, 1.0, "reach", -8)),
        ({"stmt_hash": "7", "belief": [True], "source_api": [[]], "source_hash": {"1": 1, "2": 1}}, (None,) * 4),
        ({"stmt_hash": [{}], "belief": [10**400], "source_api": [None], "source_hash": 5}, (None,) * 4),
        ({"source_hash": [{"namespace": "source_hash", "identifier": "-5"}]}, (None, None, None, -5)),
    ],
)
def test_an_annotation_that_is_not_indras_is_no_value(
    tmp_path: Path, read: Read, annotations: dict[str, Any], found: tuple[Any, ...]
) -> None:
    (row,) = read(BelSource(path=written(tmp_path, nodelink([EDGE | {"annotations": annotations}]))), 9)
    assert isinstance(row, Statement)
    assert tuple(row.extra[name] for name in ("stmt_hash", "belief", "source_api", "source_hash")) == found
    assert json.loads(row.extra["annotations"]) == annotations


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("relation", [], None),
        ("relation", 5, "5"),
        ("citation", "PubMed 123", "PubMed 123"),
        ("citation", {"namespace": {}, "identifier": "1"}, None),
        ("citation", {"namespace": "pubmed", "identifier": []}, None),
        ("citation", {"namespace": "pubmed", "identifier": 12.0}, "pubmed:12"),
        ("annotations", [1], "[1]"),
        ("annotations", {"x": [float("nan"), {"y": float("-inf")}]}, '{"x":[null,{"y":null}]}'),
    ],
)
@forms
def test_a_sound_sentence_is_kept_whatever_is_beside_it(
    tmp_path: Path, form: str, name: str, value: Any, kept: str | None
) -> None:
    path = written(tmp_path, FORMS[form]([EDGE | {name: value}, PLAIN]))
    records, without = tallied(BelSource(path=path), 9)
    first, second = records
    assert isinstance(first, Statement)
    assert isinstance(second, Statement)
    assert (first.evidence, first.extra[name], without) == (EDGE["evidence"], kept, Counter())


@pytest.mark.parametrize(
    ("citation", "pmid", "kept"),
    [
        ({"namespace": "PubMed", "identifier": 12}, "12", "PubMed:12"),
        ({"namespace": "doi", "identifier": "10.1/x"}, None, "doi:10.1/x"),
        ({"namespace": "pubmed"}, None, None),
        ({"type": "PubMed", "reference": "12", "name": "A journal"}, "12", "PubMed:12"),
        ({"db": "PubMed", "db_id": "12", "db_name": "A title"}, "12", "PubMed:12"),
        ({"db_id": 12, "db": "pubmed"}, "12", "pubmed:12"),
        ({"db": "DOI", "db_id": "10.1/x"}, None, "DOI:10.1/x"),
        ({"type": "PubMed", "reference": "12", "namespace": None, "db_id": ""}, "12", "PubMed:12"),
        ({"namespace": "pubmed", "db_id": "12"}, None, None),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_citations(tmp_path: Path, read: Read, citation: Any, pmid: Any, kept: Any) -> None:
    (row,) = read(BelSource(path=written(tmp_path, sbel([EDGE | {"citation": citation}]))), 9)
    assert isinstance(row, Statement)
    assert (row.extra["pmid"], row.extra["citation"]) == (pmid, kept)


@pytest.mark.parametrize("nodes", ["texts", "objects", "both"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_links_before_many_nodes_take_no_memory_but_for_their_names(
    tmp_path: Path, nodes: str, pack: Callable[[bytes], bytes]
) -> None:
    """The list of nodes is longer than a record may be, and so is that of links."""
    names = [f'p(HGNC:{number} ! "x\\" é")' for number in range(5_000)]
    kinds: dict[str, Callable[[int, str], Any]] = {
        "texts": lambda _, name: name,
        "objects": lambda _, name: {"bel": name, "function": "Protein"},
        "both": lambda number, name: {"bel": name} if number % 3 else name,
    }
    links = [{"evidence": f"{number}. {'word ' * 300}", "source": number, "target": 0} for number in range(5_000)]
    graph = {"graph": {}, "links": links, "nodes": [kinds[nodes](number, name) for number, name in enumerate(names)]}
    path = written(tmp_path, pack(json.dumps(graph, indent=1 if nodes == "both" else None).encode()))
    del graph, links
    tracemalloc.start()
    source = BelSource(path=path, max_record=9000)
    reader, last = source.reader(source.plan(500)), -1
    for last, row in enumerate(reader):
        assert isinstance(row, Statement)
        assert (row.source, row.evidence.split(".")[0]) == (names[last], str(last))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last == 4_999
    assert len(reader.plan) > 9
    assert peak < 5e6, "the file has 8 MB"
