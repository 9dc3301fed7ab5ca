"""Nodes in BEL, and the table of gene symbols."""

from typing import Any

import pytest

from stonkgs.indra.agent import Agent, Bound, Modification, Mutation
from stonkgs.indra.bel import entity, node
from stonkgs.indra.hgnc import symbols
from stonkgs.statement import UnusableError

AKT1 = Agent("whatever", {"HGNC": "391", "UP": "P31749", "TEXT": "akt"})


@pytest.mark.parametrize(
    ("name", "references", "written"),
    [
        ("akt", {"HGNC": "391", "UP": "P31749", "FPLX": "AKT"}, "p(HGNC:391 ! AKT1)"),
        ("akt", {"FPLX": "AKT", "UP": "P31749"}, "p(UP:P31749 ! P31749)"),
        ("akt", {"FPLX": "AMPK_alpha"}, 'p(FPLX:"AMPK_alpha" ! "AMPK_alpha")'),
        ("Pkinase", {"PF": "PF00069"}, "p(PFAM:PF00069 ! Pkinase)"),
        ("kinase", {"IP": "IPR000719"}, "p(IP:IPR000719)"),
        ("akt", {"FA": "03114"}, "p(NXPFA:03114)"),
        ("β-Alanine", {"CHEBI": "CHEBI:16958"}, 'a(CHEBI:16958 ! "β-Alanine")'),
        ("water", {"CHEBI": "15377", "PUBCHEM": "962"}, "a(CHEBI:15377 ! water)"),
        ("aspirin", {"PUBCHEM": "2244"}, "a(PUBCHEM:2244 ! 2244)"),
        ("cell death", {"GO": "GO:0008219", "MESH": "D016923"}, 'bp(GO:"GO:0008219" ! "cell death")'),
        ("Neoplasms", {"MESH": "D009369"}, "bp(MESH:D009369 ! Neoplasms)"),
        ("some thing", {"TEXT": "else"}, 'a(TEXT:"some thing")'),
        ("x", {"HGNC": "", "UP": None, "EFO": "1"}, "a(TEXT:x)"),
        ('a "quoted" one', {}, 'a(TEXT:"a "quoted" one")'),
    ],
)
def test_the_first_namespace_counts(name: str, references: dict[str, Any], written: str) -> None:
    assert node(Agent(name, references)) == entity(Agent(name, references)) == written


def test_variants_are_sorted() -> None:
    modifications = (Modification("phosphorylation", "S", "473"), Modification("acetylation", None, None))
    agent = AKT1._replace(modifications=modifications, mutations=(Mutation("17", "E", "K"),))
    assert node(agent, Modification("phosphorylation", "T", "0308")) == (
        'p(HGNC:391 ! AKT1, pmod(go:0006468 ! "protein phosphorylation", Ser, 473), '
        'pmod(go:0006468 ! "protein phosphorylation", Thr, 308), pmod(go:0006473 ! "protein acetylation"), '
        'var("p.Glu17Lys"))'
    )


@pytest.mark.parametrize("kind", ["sumoylation", "ribosylation", "modification", "anything"])
def test_modifications_that_have_no_term(kind: str) -> None:
    assert node(AKT1, Modification(kind, "K", "not read")) == "p(HGNC:391 ! AKT1)"


@pytest.mark.parametrize(
    ("mutation", "written"),
    [
        (Mutation(600, "V", "E"), "p.Val600Glu"),
        (Mutation("600", "V", None), "p.Val600?"),
        (Mutation(None, "V", "E"), "p.?"),
        (Mutation(0, "V", "E"), "p.?"),
        (Mutation("600", None, "E"), "p.?"),
    ],
)
def test_mutations(mutation: Mutation, written: str) -> None:
    assert node(AKT1._replace(mutations=(mutation,))) == f'p(HGNC:391 ! AKT1, var("{written}"))'


def test_only_proteins_have_variants() -> None:
    assert node(Agent("x", {}, mutations=(Mutation("1", "V", "E"),)), Modification("phosphorylation", None, "?")) == (
        "a(TEXT:x)"
    )


def test_a_complex() -> None:
    inner = Agent("B", {}, bound=(Bound(Agent("A", {}), True),))
    agent = AKT1._replace(bound=(Bound(inner, True), Bound(Agent("C", {}), False)))
    modified = 'p(HGNC:391 ! AKT1, pmod(go:0006479 ! "protein methylation"))'
    assert node(agent, Modification("methylation", None, None)) == f"complex(complex(a(TEXT:A), a(TEXT:B)), {modified})"
    assert node(Agent("B", {}, bound=(Bound(Agent("A", {}), False),))) == "a(TEXT:B)"


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (
            Agent("X", {"HGNC": "999999999"}),
            "HGNC id '999999999' of 'X' is not among the 49,013 symbols that this release knows",
        ),
        (
            Agent("X", {"HGNC": "HGNC:391"}),
            "HGNC id 'HGNC:391' of 'X' is not among the 49,013 symbols that this release knows",
        ),
        (Agent("X", {"CHEBI": "CHEBI:"}), "CHEBI id 'CHEBI:' of 'X' has no number"),
        (
            Agent("half \ud83d", {}),
            r"the node of agent 'half \ud83d' has half a surrogate pair, \ud83d, which is no character",
        ),
        (
            AKT1._replace(mutations=(Mutation("\udc00", "V", "E"),)),
            r"the node of agent 'whatever' has half a surrogate pair, \udc00, which is no character",
        ),
        (
            AKT1._replace(modifications=(Modification("phosphorylation", "S", "15-20"),)),
            "position '15-20' of a phosphorylation is not a whole number",
        ),
    ],
)
def test_no_node(agent: Agent, reason: str) -> None:
    with pytest.raises(UnusableError) as refused:
        node(agent)
    assert str(refused.value) == reason


def test_the_table_of_symbols() -> None:
    assert len(symbols()) == 49_013
    assert (symbols()["391"], symbols()["11998"]) == ("AKT1", "TP53")
    assert all(number.isdigit() and symbol and "\t" not in symbol for number, symbol in symbols().items())
