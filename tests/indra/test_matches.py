"""INDRA's matches hash, made again where the JSON has none."""

import gzip
import json
from pathlib import Path

import pytest

from stonkgs.indra.agent import Agent, Bound
from stonkgs.indra.convert import Converter
from stonkgs.indra.matches import LONGEST, Kind, agent_key, matches_hash, source_hash
from stonkgs.statement import Statement, UnusableError


@pytest.mark.parametrize(
    ("where", "name", "count"),
    [
        ("golden", "indra/statements.json.gz", 624),
        ("corpora", "indra_hbp_sample.json.gz", 1230),
        ("corpora", "indra_hbp_statements.jsonl.gz", 44_205),
    ],
)
def test_as_recorded(request: pytest.FixtureRequest, where: str, name: str, count: int) -> None:
    """Of every recorded INDRA statement that gives a row (a complex does as pairs), the very same."""
    convert, compared = Converter(missing_text="keep", complexes="pairs"), 0
    folder: Path = request.getfixturevalue(where)
    with gzip.open(folder / name, "rt", encoding="utf-8") as lines:
        for statement in map(json.loads, lines) if "jsonl" in name else json.load(lines):
            recorded = statement.pop("matches_hash", None)
            if recorded is None or statement.get("residue") == "B":  # which is no amino acid
                continue
            rows = [row for row in convert(statement) if isinstance(row, Statement)]
            compared += bool(rows)
            assert {row.extra["stmt_hash"] for row in rows} <= {int(recorded)}
    assert compared == count


def test_a_moved_module_is_named_as_it_was() -> None:
    agent = Agent("indra.statements.statements", {})
    assert agent_key(agent) == "('indra.statements.statements', '([], [], None, None, 0, ())')"
    moved = matches_hash((Kind("Gef"), agent_key(agent)))
    assert moved == matches_hash((Kind("Gef"), agent_key(Agent("indra.statements", {}))))


def test_a_key_that_grows_with_each_level() -> None:
    agent = Agent(1000 * "\\", {})
    for _ in range(4):
        agent = Agent("A", {}, bound=(Bound(agent, True),))
    assert len(agent_key(agent)) > 200_000
    with pytest.raises(UnusableError, match=f"no matches_hash, and .* would have over {LONGEST:,} characters"):
        agent_key(agent._replace(bound=8 * agent.bound))
    with pytest.raises(UnusableError, match="characters"):
        agent_key(Agent("A", {}, bound=(Bound(agent, True),)))
    with pytest.raises(UnusableError, match="characters"):
        agent_key(Agent(LONGEST * "\\", {}))


def test_every_evidence_of_a_corpus_has_the_source_hash_that_indra_gave_it(corpora: Path) -> None:
    count = 0
    with gzip.open(corpora / "indra_hbp_statements.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            for evidence in json.loads(line)["evidence"]:
                assert source_hash(evidence) == evidence["source_hash"]
                count += 1
    assert count > 60_000
