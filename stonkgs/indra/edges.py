"""Reads the edges of INDRA statements, from BEL node to BEL node, by the rules for each type of statement."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

from stonkgs.indra.agent import Agent, Modification, read_agent, read_site
from stonkgs.indra.bel import ONTOLOGY, entity, node
from stonkgs.indra.checks import is_nan, items, shown, text, truth
from stonkgs.indra.matches import Kind, agent_key
from stonkgs.statement import UnusableError

#: The most members of a complex that is paired. Eleven would make 55 pairs, few of which touch each other.
MOST_MEMBERS = 10

#: The nodes of source and target, in BEL.
Edge = tuple[str, str]


class Meaning(NamedTuple):
    """What an INDRA statement says."""

    #: generated one by one, because a short statement may have many long ones
    edges: Iterable[Edge]
    #: returns the key that INDRA's matches hash is computed from
    key: Callable[[], Sequence[object]]


#: Takes the type and the JSON of a statement. Returns its Meaning, or the reason why a valid one has no edges; a reason
#: is one of a few fixed texts.
ReadMeaning = Callable[[str, Mapping[str, Any]], Meaning | str]


def read_statement(statement: Mapping[str, Any], *, pairs: bool) -> tuple[str, Meaning | str]:
    """Returns the type of an INDRA statement, and its Meaning or the reason why a valid one has no edges.

    With `pairs`, each two members of a complex are an edge. Raises UnusableError where the statement is invalid; some
    mistakes raise it only when the edges are generated.
    """
    kind = text(statement, "type")
    if not kind:
        raise UnusableError("no type")
    if reader := _READERS.get(kind):
        meaning = reader(kind, statement)
        return kind, kind if kind == "Complex" and not pairs else meaning
    if kind in _WITHOUT_EDGES:
        return kind, kind
    if kind in _NOT_IN_BEL:
        raise UnusableError(f"a statement of type {kind} cannot be written in BEL")
    raise UnusableError(f"{shown(kind)} is no type of INDRA statement")


#: Required key of a statement -> what it holds, for a message.
_NOUNS = {"sub": "a substrate", "obj": "an object", "ras": "a GTPase", "agent": "an agent"}


def _agent(statement: Mapping[str, Any], role: str) -> Agent | None:
    value = statement.get(role)
    return None if value is None or is_nan(value) else read_agent(value, role)


def _needed(kind: str, statement: Mapping[str, Any], role: str) -> Agent:
    agent = _agent(statement, role)
    if agent is None:
        raise UnusableError(f"{kind} without {_NOUNS[role]} ({role!r})")
    return agent


def _agents(statement: Mapping[str, Any], role: str) -> list[Agent]:
    return [read_agent(value, f"one of {role}") for value in items(statement, role)]


def _key(kind: str, agents: Sequence[Agent], *rest: object) -> tuple[object, ...]:
    return (Kind(kind), *map(agent_key, agents), *rest)


def _between(
    kind: str, statement: Mapping[str, Any], source: str = "subj", target: str = "obj", rest: Sequence[str] = ()
) -> Meaning | str:
    """Reads an edge from the agent under one key to that under another. `rest` ends INDRA's key."""
    agent = _agent(statement, source)
    if agent is None:
        return f"{kind} without a subject"
    agents = agent, _needed(kind, statement, target)
    return Meaning([(node(agents[0]), node(agents[1]))], partial(_key, kind, agents, *rest))


def _activity(kind: str, statement: Mapping[str, Any]) -> Meaning | str:
    """Reads an edge between two agents. The activity that changes is no part of a node."""
    activity = text(statement, "obj_activity")
    return _between(kind, statement, rest=(str(activity), str(kind != "Inhibition")))


def _modification(kind: str, statement: Mapping[str, Any]) -> Meaning | str:
    """Reads an edge from the enzyme to the modified substrate, also where the modification is removed."""
    enzyme = _agent(statement, "enz")
    if enzyme is None:
        return f"{kind} without an enzyme"
    substrate, (residue, position) = _needed(kind, statement, "sub"), read_site(statement)
    modified = node(substrate, Modification(_MODIFICATIONS[kind], residue, position))
    return Meaning([(node(enzyme), modified)], partial(_key, kind, (enzyme, substrate), str(residue), str(position)))


def _of_itself(kind: str, statement: Mapping[str, Any]) -> Meaning | str:
    """Reads an edge from a kinase to its phosphorylated self, or in trans to the phosphorylated agent bound to it."""
    enzyme = _agent(statement, "enz")
    if enzyme is None:
        return f"{kind} without an enzyme"
    residue, position = read_site(statement)
    target = enzyme._replace(bound=())
    if kind == "Transphosphorylation":
        if [one.is_bound for one in enzyme.bound] != [True]:
            raise UnusableError(f"{kind}, but {shown(enzyme.name)} is not bound to one agent")
        target = enzyme.bound[0].agent
    modified = node(target, Modification("phosphorylation", residue, position))
    return Meaning([(node(enzyme), modified)], partial(_key, kind, (enzyme,), str(residue), str(position)))


def _active_form(kind: str, statement: Mapping[str, Any]) -> Meaning | str:
    """Reads an edge from the agent in each of its states to the agent without state."""
    agent = _needed(kind, statement, "agent")._replace(activity=None)
    activity, is_active = text(statement, "activity"), truth(statement, "is_active")
    rest = "activity" if activity is None else activity, str(is_active)
    return Meaning(_states(agent), partial(_key, kind, (agent,), *rest))


def _states(agent: Agent) -> Iterator[Edge]:
    plain = Agent(agent.name, agent.references)
    target = node(plain)
    for modification in agent.modifications:
        yield node(plain._replace(modifications=(modification,))), target
    for bound in agent.bound:
        yield node(plain._replace(bound=(bound,))), target
    for mutation in agent.mutations:
        yield node(plain._replace(mutations=(mutation,))), target
    if not (agent.modifications or agent.bound or agent.mutations):
        yield target, target


def _conversion(kind: str, statement: Mapping[str, Any]) -> Meaning | str:
    """Reads an edge from the controller to the reaction."""
    reactants, products = _agents(statement, "obj_from"), _agents(statement, "obj_to")
    if not (reactants or products):
        raise UnusableError(f"{kind} with neither obj_from nor obj_to")
    controller = _agent(statement, "subj")
    if controller is None:
        return f"{kind} without a controller"
    reaction = f"rxn(reactants({_listed(reactants)}), products({_listed(products)}))"

    def key() -> list[object]:
        sides = [sorted(map(agent_key, side)) for side in (products, reactants)]
        return [*_key(kind, (controller,)), *sides[0], *sides[1]]

    return Meaning([(node(controller), reaction)], key)


def _listed(agents: Sequence[Agent]) -> str:
    return ", ".join(sorted(map(entity, agents)))


def _complex(kind: str, statement: Mapping[str, Any]) -> Meaning | str:
    """Reads an edge from each member to each later one."""
    members = _agents(statement, "members")
    if not members:
        raise UnusableError(f"{kind} without members")
    if len(members) == 1:
        return f"{kind} of one member"
    if len(members) > MOST_MEMBERS:
        return f"{kind} of more than {MOST_MEMBERS} members"
    return Meaning(_pairs(members), lambda: (Kind(kind), tuple(sorted(map(agent_key, members)))))


def _pairs(members: Sequence[Agent]) -> Iterator[Edge]:
    yield from combinations(map(node, members), 2)


_ADDED = (*ONTOLOGY, "ribosylation", "sumoylation")
_MODIFICATIONS = {
    "Modification": "modification",
    **{name.capitalize(): name for name in _ADDED},
    **{f"De{name}": name for name in _ADDED},
}

_READERS: dict[str, ReadMeaning] = {
    **dict.fromkeys(_MODIFICATIONS, _modification),
    **dict.fromkeys(("Activation", "Inhibition", "GtpActivation"), _activity),
    **dict.fromkeys(("IncreaseAmount", "DecreaseAmount", "RegulateAmount"), _between),
    **dict.fromkeys(("Autophosphorylation", "Transphosphorylation"), _of_itself),
    "Gef": partial(_between, source="gef", target="ras"),
    "Gap": partial(_between, source="gap", target="ras"),
    "ActiveForm": _active_form,
    "Conversion": _conversion,
    "Complex": _complex,
}
#: Types for which INDRA's assembler writes no edge.
_WITHOUT_EDGES = frozenset(
    ("Event", "HasActivity", "Influence", "Migration", "SelfModification", "Translocation", "Unresolved")
)
#: Types on which INDRA's assembler fails: base classes, and statements without agents.
_NOT_IN_BEL = frozenset(("AddModification", "Association", "RegulateActivity", "RemoveModification", "Statement"))
