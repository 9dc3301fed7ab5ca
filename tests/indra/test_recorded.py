"""Recorded INDRA statements: the rows of the first implementation, a real corpus, and what ended it."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stonkgs.indra.convert import COLUMNS, Converter, Skipped
from stonkgs.statement import Statement, UnusableError
from stonkgs.tables.columns import as_columns

JSON = dict[str, Any]


def kept(statements: Iterable[Any], converter: Converter) -> tuple[list[Statement], Counter[str], list[str]]:
    """The rows, how often something was skipped for each reason, and what was refused."""
    rows, skipped, refused = list[Statement](), Counter[str](), list[str]()
    for statement in statements:
        try:
            for found in converter(statement):
                if isinstance(found, Statement):
                    rows.append(found)
                elif isinstance(found, Skipped):
                    skipped[found.reason] += 1
                else:
                    refused.append(found.reason)
        except UnusableError as error:
            refused.append(str(error))
    return rows, skipped, refused


def corpus(folder: Path) -> Iterator[JSON]:
    """The statements of the large corpus."""
    with gzip.open(folder / "indra_hbp_statements.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def test_rows_of_the_first_implementation(golden: Path) -> None:
    with gzip.open(golden / "indra" / "statements.json.gz", "rt", encoding="utf-8") as file:
        rows, skipped, refused = kept(json.load(file), Converter(missing_text="keep"))
    with gzip.open(golden / "indra" / "rows.jsonl.gz", "rt", encoding="utf-8") as lines:
        expected = Counter(tuple(json.loads(line)) for line in lines)
    found = Counter((row.extra["stmt_hash"], row.extra["belief"], row.source, row.target, row.evidence) for row in rows)
    assert found == expected
    assert (sum(skipped.values()), skipped["Complex"], skipped["no evidence"]) == (131, 32, 2)
    assert Counter(refused) == {"residue 'B' is no amino acid": 2, "'RasGef' is no type of INDRA statement": 2}


def test_a_real_corpus(corpora: Path) -> None:
    rows, skipped, refused = kept(corpus(corpora), Converter())
    assert (len(rows), refused) == (49_453 - 44, [])
    lacking = {kind: count for kind, count in skipped.items() if " without a" in kind}
    assert skipped - Counter(lacking) == {"Complex": 7351, "Translocation": 177, "evidence without text": 44}
    assert (sum(lacking.values()), lacking["Phosphorylation without an enzyme"]) == (274, 114)
    assert {tuple(row.extra) for row in rows} == {tuple(COLUMNS.names)}
    batch = as_columns(rows, pa.schema([("evidence", pa.string()), *COLUMNS]), {"evidence": "evidence"})
    assert batch.num_rows == len(rows)


def test_complexes_of_a_real_corpus_in_pairs(corpora: Path) -> None:
    rows, skipped, refused = kept(corpus(corpora), Converter(missing_text="keep", complexes="pairs"))
    pairs = [row for row in rows if row.extra["stmt_type"] == "Complex"]
    assert (len(rows) - len(pairs), len(pairs), refused) == (49_453, 24_750, [])
    assert (skipped["Complex of more than 10 members"], skipped["Complex"]) == (19, 0)


#: of golden/indra/hostile_statements.jsonl: "" where the statement is sound after all
HOSTILE = {
    "non-integer site position": "position '15-20' of a phosphorylation is not a whole number",
    "missing substrate": "Phosphorylation without a substrate ('sub')",
    "missing object of Activation": "Activation without an object ('obj')",
    "unknown activity type of statement": "",
    "null activity type": "",
    "unknown activity type of agent": "",
    "transphosphorylation without bound agent": "Transphosphorylation, but 'AKT1' is not bound to one agent",
    "conversion with empty lists": "Conversion with neither obj_from nor obj_to",
    "conversion with ungroundable controller": "HGNC id '999999999' of 'X' is not among the 49,013 symbols that this "
    "release knows",
    "Association (world modelers)": "a statement of type Association cannot be written in BEL",
    "AddModification base type": "a statement of type AddModification cannot be written in BEL",
    "unknown HGNC id while offline": "HGNC id '999999999' of 'X' is not among the 49,013 symbols that this release "
    "knows",
    "integer db id": "agent 'aspirin': PUBCHEM in db_refs is a number, not a text",
    "empty list db_refs": "agent 'x': UP in db_refs is a list without an identifier",
    "complex without members": "Complex without members",
    "complex with nameless member": "one of members has no name",
    "epistemics dict value": "",
    "integer pmid": "",
}


@pytest.mark.parametrize(("case", "reason"), HOSTILE.items())
@pytest.mark.parametrize("complexes", ["skip", "pairs"])
def test_what_ended_the_first_implementation(golden: Path, case: str, reason: str, complexes: str) -> None:
    lines = (golden / "indra" / "hostile_statements.jsonl").read_text("utf-8").splitlines()
    statements = {hostile["case"]: hostile["statement"] for hostile in map(json.loads, lines)}
    assert statements.keys() == HOSTILE.keys()
    rows, _, refused = kept([statements[case]], Converter(complexes=complexes))
    assert refused == ([reason] if reason else [])
    assert [row.source for row in rows] == ([] if reason else ["p(HGNC:391 ! AKT1)"])
