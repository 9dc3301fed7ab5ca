"""What each type of INDRA statement says, and what is no statement."""

from typing import Any

import pytest

from stonkgs.indra.edges import MOST_MEMBERS, Edge, read_statement
from stonkgs.statement import UnusableError

JSON = dict[str, Any]

A, B, C = ({"name": name} for name in "ABC")
P = {"name": "P", "db_refs": {"UP": "P1"}}


def edges(statement: JSON, *, pairs: bool = False) -> list[Edge] | str:
    """All edges, or the reason why there are none."""
    kind, reading = read_statement(statement, pairs=pairs)
    assert kind == statement["type"]
    return reading if isinstance(reading, str) else list(reading.edges)


def short(statement: JSON, *, pairs: bool = False) -> list[tuple[str, ...]] | str:
    """As edges(), with the names of the test's agents alone."""
    found = edges(statement, pairs=pairs)
    if isinstance(found, str):
        return found
    return [tuple(name.removeprefix("a(TEXT:").removesuffix(")") for name in edge) for edge in found]


@pytest.mark.parametrize("kind", ["Activation", "Inhibition", "GtpActivation"])
@pytest.mark.parametrize("activity", ["kinase", "gtpase", None])
def test_activities_known_or_not(kind: str, activity: str | None) -> None:
    assert short({"type": kind, "subj": A, "obj": B, "obj_activity": activity}) == [("A", "B")]


@pytest.mark.parametrize(
    ("kind", "source", "target"),
    [
        ("IncreaseAmount", "subj", "obj"),
        ("DecreaseAmount", "subj", "obj"),
        ("RegulateAmount", "subj", "obj"),
        ("Activation", "subj", "obj"),
        ("Gef", "gef", "ras"),
        ("Gap", "gap", "ras"),
    ],
)
def test_from_one_to_another(kind: str, source: str, target: str) -> None:
    assert short({"type": kind, source: A, target: B}) == [("A", "B")]
    assert short({"type": kind, source: None, target: B}) == short({"type": kind}) == f"{kind} without a subject"
    with pytest.raises(UnusableError, match=rf"^{kind} without an? (object|GTPase) \('{target}'\)$"):
        read_statement({"type": kind, source: A}, pairs=False)


@pytest.mark.parametrize("kind", ["Phosphorylation", "Dephosphorylation"])
def test_modifications_are_those_of_the_substrate(kind: str) -> None:
    statement = {"type": kind, "enz": A, "sub": P, "residue": "serine", "position": 5}
    modified = 'p(UP:P1 ! P1, pmod(go:0006468 ! "protein phosphorylation", Ser, 5))'
    assert edges(statement) == [("a(TEXT:A)", modified)]
    assert edges(statement | {"enz": None}) == f"{kind} without an enzyme"
    with pytest.raises(UnusableError, match="without a substrate"):
        read_statement({"type": kind, "enz": A}, pairs=False)


@pytest.mark.parametrize("kind", ["Sumoylation", "Deribosylation", "Modification"])
def test_modifications_without_a_term(kind: str) -> None:
    assert edges({"type": kind, "enz": A, "sub": P}) == [("a(TEXT:A)", "p(UP:P1 ! P1)")]


def test_kinases_of_themselves() -> None:
    bound = P | {"bound_conditions": [{"agent": {"name": "Q", "db_refs": {"UP": "Q1"}}}]}
    term = 'pmod(go:0006468 ! "protein phosphorylation")'
    both = "complex(p(UP:P1 ! P1), p(UP:Q1 ! Q1))"
    assert edges({"type": "Autophosphorylation", "enz": bound}) == [(both, f"p(UP:P1 ! P1, {term})")]
    assert edges({"type": "Transphosphorylation", "enz": bound}) == [(both, f"p(UP:Q1 ! Q1, {term})")]
    assert edges({"type": "Autophosphorylation"}) == "Autophosphorylation without an enzyme"


@pytest.mark.parametrize("bound", [[], [{"agent": B, "is_bound": False}], [{"agent": B}, {"agent": C}]])
def test_a_kinase_that_is_not_bound_to_one(bound: list[JSON]) -> None:
    with pytest.raises(UnusableError, match=r"^Transphosphorylation, but 'A' is not bound to one agent$"):
        read_statement({"type": "Transphosphorylation", "enz": A | {"bound_conditions": bound}}, pairs=False)


def test_active_forms() -> None:
    agent = P | {
        "mods": [{"mod_type": "methylation"}, {"mod_type": "sumoylation"}],
        "bound_conditions": [{"agent": B}, {"agent": C, "is_bound": False}],
        "mutations": [{"position": "1", "residue_from": "A"}],
    }
    assert edges({"type": "ActiveForm", "agent": agent}) == [
        ('p(UP:P1 ! P1, pmod(go:0006479 ! "protein methylation"))', "p(UP:P1 ! P1)"),
        ("p(UP:P1 ! P1)", "p(UP:P1 ! P1)"),
        ("complex(a(TEXT:B), p(UP:P1 ! P1))", "p(UP:P1 ! P1)"),
        ("p(UP:P1 ! P1)", "p(UP:P1 ! P1)"),
        ('p(UP:P1 ! P1, var("p.Ala1?"))', "p(UP:P1 ! P1)"),
    ]
    assert short({"type": "ActiveForm", "agent": A}) == [("A", "A")]
    with pytest.raises(UnusableError, match=r"^ActiveForm without an agent"):
        read_statement({"type": "ActiveForm"}, pairs=False)


def test_conversions() -> None:
    statement = {"type": "Conversion", "subj": A, "obj_from": [C, B], "obj_to": None}
    assert edges(statement) == [("a(TEXT:A)", "rxn(reactants(a(TEXT:B), a(TEXT:C)), products())")]
    assert edges(statement | {"subj": None}) == "Conversion without a controller"


def test_complexes() -> None:
    statement: JSON = {"type": "Complex", "members": [C, A, A, B]}
    assert short(statement) == "Complex"
    assert short(statement, pairs=True) == [("C", "A"), ("C", "A"), ("C", "B"), ("A", "A"), ("A", "B"), ("A", "B")]
    assert short({"type": "Complex", "members": [A]}, pairs=True) == "Complex of one member"
    assert len(short({"type": "Complex", "members": MOST_MEMBERS * [A]}, pairs=True)) == 45
    many: JSON = {"type": "Complex", "members": (MOST_MEMBERS + 1) * [A]}
    assert short(many, pairs=True) == "Complex of more than 10 members"
    assert short(many) == "Complex"


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([], "Complex without members"),
        (None, "Complex without members"),
        ([A, {}], "one of members has no name"),
        ([A, None], "one of members is null, not an object"),
        (A, "members is an object, not a list"),
    ],
)
def test_complexes_of_no_such_members(members: Any, reason: str, pairs: bool) -> None:
    with pytest.raises(UnusableError, match=f"^{reason}$"):
        read_statement({"type": "Complex", "members": members}, pairs=pairs)


@pytest.mark.parametrize(
    "kind", ["Event", "HasActivity", "Influence", "Migration", "SelfModification", "Translocation", "Unresolved"]
)
def test_types_that_have_no_edges(kind: str) -> None:
    assert edges({"type": kind, "whatever": [kind]}) == kind


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ({}, "no type"),
        ({"type": ""}, "no type"),
        ({"type": ["Gef"]}, "type is a list, not a text"),
        ({"type": "phosphorylation"}, "'phosphorylation' is no type of INDRA statement"),
        ({"type": "Agent\n"}, r"'Agent\\n' is no type of INDRA statement"),
        ({"type": "Association"}, "a statement of type Association cannot be written in BEL"),
        ({"type": "AddModification"}, "a statement of type AddModification cannot be written in BEL"),
        ({"type": "RemoveModification"}, "a statement of type RemoveModification cannot be written in BEL"),
        ({"type": "Activation", "subj": A, "obj": B, "obj_activity": 1}, "obj_activity is a number, not a text"),
        ({"type": "Methylation", "enz": A, "sub": B, "residue": 7}, "residue is a number, not a text"),
        ({"type": "Methylation", "enz": A, "sub": [B]}, "sub is a list, not an object"),
        ({"type": "ActiveForm", "agent": A, "is_active": "yes"}, "is_active is a text, not true or false"),
        (
            {"type": "Conversion", "subj": A, "obj_from": [], "obj_to": []},
            "Conversion with neither obj_from nor obj_to",
        ),
        ({"type": "Conversion", "subj": A, "obj_from": A}, "obj_from is an object, not a list"),
    ],
)
def test_no_statement(statement: JSON, reason: str) -> None:
    with pytest.raises(UnusableError, match=f"^{reason}$"):
        read_statement(statement, pairs=False)
