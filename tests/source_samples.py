"""What files of every source look like: their rows, and each way in which these are written."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from text_files import zstd

Rows = list[tuple[str, str, str, str]]
NAMES = ["source", "target", "evidence", "note"]
LENGTHS = (0, 1, 3, 40, 700, 2)
#: A zstd frame that is no content.
SKIPPED = b"\x5a\x2a\x4d\x18" + (9).to_bytes(4, "little") + b"no frames"


def rows(first: int, count: int) -> Rows:
    """Records of a few bytes and of several splits, with characters of one to four bytes."""
    return [
        (f"p(HGNC:{row})", "é" * (row % 4), "a😀ü" * LENGTHS[row % len(LENGTHS)], f"note {row}")
        for row in range(first, first + count)
    ]


def spread(first: int, count: int) -> Rows:
    """The same with tabs, commas, newlines and quotes in them."""
    return [(f"{a},;", f"{b}\n{b}\t", f'"{c}"', d) for a, b, c, d in rows(first, count)]


def tsv(content: Rows, *, bom: str = "", end: str = "\n", last: str = "\n", mark: str = "\t") -> bytes:
    return (bom + end.join(mark.join(row) for row in [tuple(NAMES), *content]) + last).encode()


def quoted(content: Rows, *, mark: str = "\t") -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=mark).writerows([NAMES, *content])
    return out.getvalue().encode()


def jsonl(content: Rows, *, bom: str = "", end: str = "\n", last: str = "\n") -> bytes:
    texts = [
        "{" + ", ".join(f'"{name}": "{value}"' for name, value in zip(NAMES, row, strict=True)) + "}" for row in content
    ]
    return (bom + end.join(texts) + last).encode()


def edges(first: int, count: int) -> Rows:
    """Rows that INDRA statements give: the same two nodes, and an evidence with a text."""
    nodes = ("p(HGNC:391 ! AKT1)", "p(HGNC:11998 ! TP53)")
    return [(*nodes, f"{c}.", d) for _, _, c, d in rows(first, count)]


def indra(content: Rows) -> list[dict[str, Any]]:
    """A statement a row; the note is its evidence's PMID."""
    agents = {
        "subj": {"name": "AKT1", "db_refs": {"HGNC": "391"}},
        "obj": {"name": "TP53", "db_refs": {"HGNC": "11998"}},
    }
    return [{"type": "Activation", **agents, "evidence": [{"text": c, "pmid": d}]} for _, _, c, d in content]


def indra_array(content: Rows) -> bytes:
    return json.dumps(indra(content), indent=1, ensure_ascii=False).encode()


def indra_lines(content: Rows) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in indra(content)).encode()


def indra_answer(content: Rows) -> bytes:
    return json.dumps({"a": {"b": 1}, "statements": dict(enumerate(indra(content))), "end": []}).encode()


def indra_results(content: Rows) -> bytes:
    """As INDRA DB answers a query, with its keys in the order of the alphabet."""
    counts = {"evidence_counts": {"1": 3}, "source_counts": {"1": {"reach": 3}}}
    keyed = {f"{number:09}": one for number, one in enumerate(indra(content))}
    return json.dumps({**counts, "results": keyed, "total": 3}, sort_keys=True, indent=1).encode()


def indra_indented(content: Rows) -> bytes:
    """Indented statements one after another, as jq writes them."""
    return "".join(json.dumps(one, indent=2, sort_keys=True) + "\n" for one in indra(content)).encode()


def parquet(content: Rows) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table(dict(zip(NAMES, map(list, zip(*content, strict=True)), strict=True)))
    pq.write_table(table, sink, row_group_size=7)
    return bytes(sink.getvalue().to_pybytes())


def sentences(first: int, count: int) -> Rows:
    """The same with no name and no evidence that is empty."""
    return [(a, f"{b}t", f'"{c}" {{\n', d) for a, b, c, d in rows(first, count)]


def sbel(content: Rows, *, bom: str = "", end: str = "\n", last: str = "\n") -> bytes:
    """A BEL graph as PyBEL's JSON Lines; a row's note is its relation."""
    edges = [
        {"source": {"bel": source}, "target": {"bel": target}, "relation": note, "evidence": evidence}
        for source, target, evidence, note in content
    ]
    lines = [json.dumps(value, ensure_ascii=False) for value in ({"pybel_version": "0.15.5"}, *edges)]
    return (bom + end.join(lines) + last).encode()


def nodelink(content: Rows, *, bom: str = "", indent: int | None = None) -> bytes:
    """The same as one object, whose edges name their nodes by number."""
    nodes = [{"bel": name} for source, target, *_ in content for name in (source, target)]
    links = [
        {"relation": note, "evidence": evidence, "source": 2 * number, "target": 2 * number + 1}
        for number, (*_, evidence, note) in enumerate(content)
    ]
    graph = {"directed": True, "graph": {"pybel_version": "0.15.5"}, "nodes": nodes, "links": links}
    return (bom + json.dumps(graph, ensure_ascii=False, indent=indent)).encode()


def sorted_nodelink(content: Rows, *, indent: int | None = None) -> bytes:
    """The same with the keys in the order of the alphabet: the edges come before the nodes."""
    return json.dumps(json.loads(nodelink(content)), sort_keys=True, indent=indent).encode()


def dialects(write: Callable[..., bytes]) -> dict[str, Callable[[Rows], bytes]]:
    return {
        "lf": write,
        "crlf": lambda content: write(content, end="\r\n", last="\r\n"),
        "bom": lambda content: write(content, bom="\ufeff"),
        "open": lambda content: write(content, last=""),
        "gzip": lambda content: gzip.compress(write(content)),
        "members": lambda content: gzip.compress(write(content)[:99]) + gzip.compress(write(content)[99:]),
        "zstd": lambda content: zstd(write(content)),
        "frames": lambda content: SKIPPED + zstd(write(content)[:99]) + zstd(b"") + zstd(write(content)[99:]) + SKIPPED,
    }


def packings(write: Callable[[Rows], bytes]) -> dict[str, Callable[[Rows], bytes]]:
    return {"plain": write, "gzip": lambda rows: gzip.compress(write(rows)), "zstd": lambda rows: zstd(write(rows))}


class Sample(NamedTuple):
    """How a source is set, its rows, and each way in which its files may be written."""

    settings: dict[str, Any]
    rows: Callable[[int, int], Rows]
    ways: dict[str, Callable[[Rows], bytes]]


#: By class.
SAMPLES = {
    "TsvSource": [
        Sample({}, rows, dialects(tsv)),
        Sample({}, spread, packings(quoted)),
        Sample({"quoting": "none"}, rows, dialects(tsv)),
    ],
    "CsvSource": [
        Sample({}, rows, {"crlf": lambda content: tsv(content, mark=",", end="\r\n", bom="\ufeff")}),
        Sample({}, spread, packings(partial(quoted, mark=","))),
        Sample({"delimiter": ";"}, spread, packings(partial(quoted, mark=";"))),
    ],
    "JsonlSource": [Sample({}, rows, dialects(jsonl))],
    "IndraSource": [
        Sample({}, edges, packings(indra_array)),
        Sample({"missing_text": "keep"}, edges, packings(indra_lines)),
        Sample({"complexes": "pairs"}, edges, packings(indra_answer)),
        Sample({}, edges, packings(indra_results)),
        Sample({}, edges, packings(indra_indented)),
    ],
    "ParquetSource": [Sample({}, spread, {"groups": parquet})],
    "BelSource": [
        Sample({}, sentences, dialects(sbel)),
        Sample({}, sentences, {**packings(nodelink), "bom": partial(nodelink, bom="\ufeff", indent=2)}),
        Sample({}, sentences, {**packings(sorted_nodelink), "indented": partial(sorted_nodelink, indent=2)}),
    ],
}
