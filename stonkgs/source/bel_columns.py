"""What the columns of a BEL edge hold. An odd value is null, because a sound sentence is kept whatever is beside it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from stonkgs.indra.checks import finite_number, text_or_digits, whole
from stonkgs.tables.columns import json_field
from stonkgs.tables.exact_json import NOT_FINITE, nearest_json

#: The columns of a row beside source, target and evidence.
COLUMNS = pa.schema(
    [
        pa.field("relation", pa.string()),
        pa.field("pmid", pa.string()),
        pa.field("citation", pa.string()),
        pa.field("stmt_hash", pa.int64()),
        pa.field("belief", pa.float64()),
        pa.field("source_api", pa.string()),
        pa.field("source_hash", pa.int64()),
        json_field("annotations"),
    ]
)
#: The keys of a citation, by PyBEL's releases: 0.15, 0.14, and 0.13 and before.
_CITATIONS = (("namespace", "identifier"), ("db", "db_id"), ("type", "reference"))


def edge_columns(edge: Mapping[str, Any], made_null: Counter[str]) -> dict[str, Any]:
    """Returns the values of COLUMNS for an edge. Counts in `made_null` what is null because it is odd."""
    columns = {"relation": text_or_digits(edge.get("relation")), **_citation(edge), **_annotations(edge, made_null)}
    for name in ("relation", "citation"):
        if columns[name] is None and edge.get(name):
            made_null[name] += 1
    return columns


def _citation(edge: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns the columns `pmid` and `citation`."""
    citation = edge.get("citation")
    if not isinstance(citation, dict):
        return {"pmid": None, "citation": text_or_digits(citation) or None}
    for names in _CITATIONS:
        namespace, identifier = (text_or_digits(citation.get(name)) for name in names)
        if namespace and identifier:
            pmid = identifier if namespace.lower() == "pubmed" else None
            return {"pmid": pmid, "citation": f"{namespace}:{identifier}"}
    return {"pmid": None, "citation": None}


def _annotations(edge: Mapping[str, Any], made_null: Counter[str]) -> dict[str, Any]:
    """Returns the column `annotations`, and four columns that INDRA's export keeps in it.

    In other graphs these names may mean something else. So a value of another type is null there, and is found in
    `annotations` only.
    """
    annotations = edge.get("annotations")
    known = annotations if isinstance(annotations, dict) else {}
    source_api = _one(known, "source_api")
    encoded, constants = (None, 0) if annotations is None else nearest_json(annotations)
    if constants:
        made_null[NOT_FINITE] += constants
    return {
        "stmt_hash": whole(_one(known, "stmt_hash")),
        "belief": finite_number(_one(known, "belief")),
        "source_api": text_or_digits(source_api) if isinstance(source_api, str) else None,
        "source_hash": whole(_one(known, "source_hash")),
        "annotations": encoded,
    }


def _one(annotations: Mapping[str, Any], key: str) -> Any:
    """Returns the value of {value: true} or of [{"namespace": key, "identifier": value}]; None for anything else."""
    values = annotations.get(key)
    if not isinstance(values, dict | list) or len(values) != 1:
        return None
    (value,) = values
    return value.get("identifier") if isinstance(value, dict) else value
