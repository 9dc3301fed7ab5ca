"""Agents that are none: each is refused in words, by the agent's name where it has one."""

from typing import Any

import pytest

from stonkgs.indra.agent import DEPTH, Agent, Modification, Mutation, read_agent, reference
from stonkgs.statement import UnusableError


def test_a_whole_agent() -> None:
    agent = read_agent(
        {
            "name": "BRAF",
            "db_refs": {"HGNC": "1097"},
            "mods": [{"mod_type": "phosphorylation", "residue": "Serine", "position": 601, "is_modified": False}],
            "mutations": [{"position": "600", "residue_from": "V", "residue_to": "glu"}],
            "bound_conditions": [{"agent": {"name": "MEK"}, "is_bound": None}],
            "activity": {"activity_type": "kinase", "is_active": True},
            "location": "nucleus",
        },
        "subj",
    )
    assert agent.modifications == (Modification("phosphorylation", "S", "601", False),)
    assert agent.mutations == (Mutation("600", "V", "E"),)
    assert agent.bound == ((Agent("MEK", {}), True),)
    assert (agent.activity, agent.location) == (("kinase", True), "nucleus")


def test_null_is_absent() -> None:
    keys = ("db_refs", "mods", "mutations", "bound_conditions", "activity", "location")
    assert read_agent({"name": "A", **dict.fromkeys(keys)}, "subj") == Agent("A", {})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([{"name": "A"}], "subj is a list, not an object"),
        ("A", "subj is a text, not an object"),
        (True, "subj is true or false, not an object"),
        ({}, "subj has no name"),
        ({"name": ""}, "subj has no name"),
        ({"name": " \n"}, "subj has no name"),
        ({"name": 5}, "subj has no name"),
        ({"name": "A", "db_refs": ["HGNC"]}, "agent 'A': db_refs is a list, not an object"),
        ({"name": "A", "mods": {}}, "agent 'A': mods is an object, not a list"),
        ({"name": "A", "mods": "ph"}, "agent 'A': mods is a text, not a list"),
        ({"name": "A", "mods": [None]}, "agent 'A': one of its mods is null, not an object"),
        ({"name": "A", "mods": [{}]}, "agent 'A': one of its mods has no mod_type"),
        ({"name": "A", "mods": [{"mod_type": ["x"]}]}, "agent 'A': mod_type is a list, not a text"),
        (
            {"name": "A", "mods": [{"mod_type": "x", "residue": "B"}]},
            "agent 'A': residue 'B' is no amino acid",
        ),
        (
            {"name": "A", "mods": [{"mod_type": "x", "is_modified": 1}]},
            "agent 'A': is_modified is a number, not true or false",
        ),
        (
            {"name": "A", "mutations": [{"position": 1.5}]},
            "agent 'A': position is a number, not a whole number of 64 bits or a text",
        ),
        (
            {"name": "A", "mutations": [{"position": 10**5000}]},
            "agent 'A': position is a number, not a whole number of 64 bits or a text",
        ),
        ({"name": "A", "mutations": [7]}, "agent 'A': one of its mutations is a number, not an object"),
        ({"name": "A", "bound_conditions": [[]]}, "agent 'A': one of its bound_conditions is a list, not an object"),
        ({"name": "A", "bound_conditions": [{}]}, "agent 'A': one of its bound_conditions has no agent"),
        ({"name": "A", "bound_conditions": [{"agent": {}}]}, "agent 'A': a bound agent has no name"),
        (
            {"name": "A", "bound_conditions": [{"agent": {"name": "B", "location": []}}]},
            "agent 'A': agent 'B': location is a list, not a text",
        ),
        ({"name": "A", "activity": "kinase"}, "agent 'A': its activity is a text, not an object"),
        ({"name": "A", "activity": {"is_active": "no"}}, "agent 'A': is_active is a text, not true or false"),
    ],
)
def test_unsound(value: Any, reason: str) -> None:
    with pytest.raises(UnusableError) as refused:
        read_agent(value, "subj")
    assert str(refused.value) == reason


def test_a_reason_stays_short_and_printable() -> None:
    with pytest.raises(UnusableError) as refused:
        read_agent({"name": "\x1b[31m" + 10**6 * "A", "mods": 1}, "subj")
    assert len(str(refused.value)) < 200
    assert str(refused.value).isprintable()


def test_bound_to_agents_that_are_bound() -> None:
    def chain(depth: int) -> dict[str, Any]:
        return {"name": "A", "bound_conditions": [{"agent": chain(depth - 1)}] if depth else []}

    read_agent(chain(DEPTH), "subj")
    with pytest.raises(UnusableError, match="agents are bound to agents more than 5 deep"):
        read_agent(chain(DEPTH + 1), "subj")


@pytest.mark.parametrize("found", ["7", ["7"], ["7", "8"], ["7", None]])
def test_a_reference(found: Any) -> None:
    assert reference(Agent("A", {"UP": found}), "UP") == "7"


@pytest.mark.parametrize("found", [None, ""])
def test_no_reference(found: Any) -> None:
    assert reference(Agent("A", {"UP": found}), "UP") is None


@pytest.mark.parametrize("found", [7, True, {}, [], [""], [None], [7], [["7", 0.5]]])
def test_an_unsound_reference(found: Any) -> None:
    with pytest.raises(UnusableError, match=r"^agent 'A': UP in db_refs is "):
        reference(Agent("A", {"UP": found}), "UP")
