"""Which rows are left out for a test: a law against sets, and what cannot be told."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import write_lines
from hypothesis import given, settings
from hypothesis import strategies as st

from stonkgs.division import division
from stonkgs.errors import UserError
from stonkgs.graph.leave_out import GROUP, PAIR, WHERE, Choice, LeaveOut, columns_of
from stonkgs.graph.reading import chosen
from stonkgs.graph.strict import doubt_of_graph
from stonkgs.graph.triples import SourceTriples, TripleFiles, Triples
from stonkgs.protocol import TEST, Everything, Grouped, Shuffled
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Rejection, Statement

COLUMNS = {"source", "target", "evidence", "pmid", "label"}
NAMES = st.sampled_from("ABCDE")


def row(source: str, target: str, pmid: Any = "", evidence: str = "e", label: str = "x") -> Statement:
    return Statement(source, target, evidence, {"pmid": pmid, "label": label})


ROWS = st.lists(st.builds(row, NAMES, NAMES, st.sampled_from([*"123456789", "", None, 4.0]), st.sampled_from("ef")))


@settings(max_examples=60, deadline=None)
@given(ROWS, st.booleans(), st.integers(0, 2))
def test_the_law_against_sets(rows: list[Statement], pairs: bool, fold: int) -> None:
    protocol = Grouped(by="pmid", folds=3, fold=fold)
    tested = [one for one in rows if protocol.part(one, 0) == TEST]
    if not tested:
        with pytest.raises(UserError, match="no row will be tested by this protocol"):
            LeaveOut(protocol=protocol, pairs=pairs).choice(COLUMNS, lambda: rows)
        return
    choice = LeaveOut(protocol=protocol, pairs=pairs).choice(COLUMNS, lambda: rows)
    choice = pickle.loads(pickle.dumps(choice))
    about = {frozenset((one.source, one.target)) for one in tested}
    same = {str(one.extra["pmid"]).removesuffix(".0") for one in tested if one.extra["pmid"]}
    for one in rows:
        named = str(one.extra["pmid"]).removesuffix(".0") in same
        shares = frozenset((one.source, one.target)) in about
        reason = choice.reason(one)
        assert choice.keeps(one) == (not reason)
        assert (choice.tested_pair(one) >= 0) == shares
        if reason == GROUP:
            assert named or one in tested
        else:
            assert one not in tested
            assert not (one.extra["pmid"] and named)
            assert reason == (PAIR if pairs and shares else "")


def test_a_number_with_and_without_decimals_is_one_paper(tmp_path: Path) -> None:
    """A Parquet file whose column has gaps gives 24497843.0, a TSV 24497843."""
    protocol = next(
        p for seed in range(9) if (p := Grouped(by="pmid", test=0.5, seed=seed)).part(row("A", "B", "7"), 0) == TEST
    )
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence", "pmid"], ["A", "B", "e", "7"]])
    choice = LeaveOut(protocol=protocol, source=TsvSource(path=tmp_path / "rows.tsv")).choice(COLUMNS, list)
    assert choice.reason(row("C", "D", 7.0)) == choice.reason(row("C", "D", 7)) == GROUP
    assert choice.keeps(row("A", "B", 8))
    assert not choice.record["own"]
    assert len(choice.record["division"]["files"]) == 1


def test_rows_of_a_value_are_left_out() -> None:
    choice = LeaveOut(where={"label": ["corrected", 3]}).choice(COLUMNS, list)
    assert choice.reason(row("A", "B", label="corrected|x")) == choice.reason(row("A", "B", label="3")) == WHERE
    assert choice.keeps(row("A", "B", label="correct"))
    assert choice.record == {"where": {"label": ["3", "corrected"]}}


def test_pairs_are_left_out_where_the_input_has_no_groups(tmp_path: Path) -> None:
    tested = [["source", "target", "evidence", "pmid"], *(["A", "B", "e", str(n)] for n in range(20))]
    write_lines(tmp_path / "rows.tsv", [*tested, ["one", "two"]])
    source, protocol = TsvSource(path=tmp_path / "rows.tsv"), Grouped(by="pmid")
    assert columns_of(source.reader()) == {"source", "target", "evidence", "pmid"}
    with pytest.raises(UserError, match=r"no column 'pmid', by which .*there are source, target\), or .*pairs=true"):
        LeaveOut(protocol=protocol, source=source).choice(["source", "target"], list)
    choice = LeaveOut(protocol=protocol, source=source, pairs=True).choice(["source", "target"], list)
    assert choice.reason(Statement("B", "A", "")) == PAIR
    assert choice.keeps(Statement("B", "C", ""))
    assert (choice.record["groups"], choice.record["rejected"]) == (False, 1)


@pytest.mark.parametrize(
    ("settings", "columns", "line"),
    [
        ({"where": {"colour": "red"}}, COLUMNS, r"without\.where: the input has no column .colour.; there are evid"),
        ({"where": {"label": None}}, COLUMNS, r"without\.where\.label=None: must be a value or a list"),
        ({"where": {"label": []}}, COLUMNS, r"without\.where\.label=\[\]: must be a value or a list"),
        ({"protocol": Everything()}, COLUMNS, r"without: only a protocol that divides rows by groups"),
        ({"protocol": Shuffled()}, COLUMNS, r"without: only a protocol that divides rows by groups"),
        ({"protocol": Grouped(by="pmid"), "pairs": True}, {"source", "target"}, r"there are source, target\)$"),
        ({"source": TsvSource(path="f", limit=9)}, COLUMNS, r"without\.source\.limit=9: a test may be of any row"),
        ({"protocol": Grouped()}, COLUMNS, r"no row will be tested by this protocol \(grouped by evidence"),
    ],
)  # fmt: skip
def test_one_line_each(settings: dict[str, Any], columns: set[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        LeaveOut(**settings).choice(columns, lambda: [Rejection("f", "r", b"")])


def test_the_tested_file_needs_the_column(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence"], ["A", "B", "e"]])
    with pytest.raises(UserError, match=r"rows\.tsv: no column 'pmid' \(protocol\.by=\); there are evidence, source"):
        LeaveOut(protocol=Grouped(by="pmid"), source=TsvSource(path=tmp_path / "rows.tsv")).choice(COLUMNS, list)


#: A protocol that tests about half of the groups, by evidence.
HALF = Grouped(test=0.5)
OTHER_FILE = "the store's graph leaves out the tested rows of another file than this one"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rows = [["A", "B", f"e{n}", f"{n}"] for n in range(20)]
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence", "text"], *rows])
    return tmp_path / "rows.tsv"


def doubted(choice: Choice, source: TsvSource, protocol: Grouped = HALF) -> str:
    """What is said of a store whose graph was chosen so, in a test of this source."""
    origin = json.dumps({"without": dict(choice.record)})
    files = [watch.fingerprint for watch in source.watch()]
    return doubt_of_graph(origin, division(protocol, files), source.columns)


def test_a_test_that_groups_by_another_column_is_doubted(labelled: Path) -> None:
    source, other = TsvSource(path=labelled), TsvSource(path=labelled, columns={"evidence": "text"})
    by_evidence = LeaveOut(protocol=HALF, source=source).choice(COLUMNS, list)
    assert doubted(by_evidence, source) == ""
    assert doubted(by_evidence, other) == (
        "the store's graph leaves out rows by groups of column 'evidence', and here they are of 'text'"
    )
    assert doubted(LeaveOut(protocol=HALF, source=other).choice(COLUMNS, list), other) == ""
    by_source = Grouped(by="target", validation=0.0, test=0.99)
    same = LeaveOut(protocol=by_source, source=source).choice(COLUMNS, list)
    assert doubted(same, other, by_source) == ""  # both read the groups from column target


@pytest.mark.parametrize("as_triples", [False, True])
def test_a_graph_without_its_own_tested_rows_is_for_tests_of_its_file(
    labelled: Path, tmp_path: Path, as_triples: bool
) -> None:
    source, copy, other = TsvSource(path=labelled), tmp_path / "copy.tsv", tmp_path / "other.tsv"
    copy.write_bytes(labelled.read_bytes())
    other.write_bytes(labelled.read_bytes().replace(b"e7", b""))
    triples: Triples = TripleFiles([str(labelled)]) if as_triples else SourceTriples(source.reader())
    choice = chosen(triples, LeaveOut(protocol=HALF))
    assert choice.record["own"]
    assert [doubted(choice, TsvSource(path=path)) for path in (labelled, copy, other)] == ["", "", OTHER_FILE]


def test_a_tested_row_without_a_group_is_known_in_a_graph_without_evidence(tmp_path: Path) -> None:
    rows = [[f"S{n}", f"T{n}", f"e{n}", ""] for n in range(20)]
    write_lines(tmp_path / "rows.tsv", [["source", "target", "evidence", "pmid"], *rows])
    protocol, source = Grouped(by="pmid", test=0.5), TsvSource(path=tmp_path / "rows.tsv")
    tested = {row[0] for row in rows if protocol.part(row_of(row), 0) == TEST}
    choice = LeaveOut(protocol=protocol, source=source).choice({"source", "target", "pmid"}, list)
    graph = [Statement(source, target, "", {"pmid": ""}) for source, target, *_ in rows]
    assert {row.source for row in graph if choice.reason(row) == GROUP} == tested
    assert choice.record["tested"] == len(tested)
    assert 0 < len(tested) < 20
    assert choice.keeps(Statement(min(tested), "T-other", "", {"pmid": ""}))


def row_of(fields: list[str]) -> Statement:
    source, target, evidence, pmid = fields
    return row(source, target, pmid, evidence)
