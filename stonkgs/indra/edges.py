"""What the types of INDRA statements say in BEL: their edges from node to node."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

from stonkgs.indra.agent import Agent, Modification, read_agent, read_site
from stonkgs.indra.bel import ONTOLOGY, entity, node
from stonkgs.indra.checks import items, shown, text, truth
from stonkgs.indra.matches import Kind, agent_key
from stonkgs.statement import UnusableError

#: A larger complex makes no pairs: they would be 55 and more, few of which touch.
MOST_MEMBERS = 10

#: The source's node and the target's.
Edge = tuple[str, str]


class Reading(NamedTuple):
    """What an INDRA statement says."""

    #: made as they are asked for: few bytes may stand for many long ones
    edges: Iterable[Edge]
    #: makes the key that INDRA's matches hash is a digest of
    key: Callable[[], Sequence[object]]


#: Takes a type and the JSON of a statement of it. A text is the reason why there are no edges although all is sound;
#: it has nothing of the input in it.
Form = Callable[[str, Mapping[str, Any]], Reading | str]


def read(statement: Mapping[str, Any], *, pairs: bool) -> tuple[str, Reading | str]:
    """The type of an INDRA statement, and its edges or the reason why a sound one has none.

    With `pairs`, each two members of a complex are an edge. UnusableError where something in it is unsound; some of it
    shows only when the edges are made.
    """
    kind = text(statement, "type")
    if not kind:
        raise UnusableError("no type")
    if form := _FORMS.get(kind):
        reading = form(kind, statement)
        return kind, kind if kind == "Complex" and not pairs else reading
    if kind in _WITHOUT_EDGES:
        return kind, kind
    if kind in _NOT_IN_BEL:
        raise UnusableError(f"a statement of type {kind} cannot be written in BEL")
    raise UnusableError(f"{shown(kind)} is no type of INDRA statement")


#: What stands under a key without which a statement says nothing.
_NOUNS = {"sub": "a substrate", "obj": "an object", "ras": "a GTPase", "agent": "an agent"}


def _agent(statement: Mapping[str, Any], role: str) -> Agent | None:
    value = statement.get(role)
    return None if value is None else read_agent(value, role)


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
) -> Reading | str:
    """From the agent under one key to that under another; `rest` are further parts of INDRA's key."""
    agent = _agent(statement, source)
    if agent is None:
        return f"{kind} without a subject"
    agents = agent, _needed(kind, statement, target)
    return Reading([(node(agents[0]), node(agents[1]))], partial(_key, kind, agents, *rest))


def _activity(kind: str, statement: Mapping[str, Any]) -> Reading | str:
    """As between any two; the activity that changes, known or not, is no part of a node."""
    activity = text(statement, "obj_activity")
    return _between(kind, statement, rest=(str(activity), str(kind != "Inhibition")))


def _modification(kind: str, statement: Mapping[str, Any]) -> Reading | str:
    """From the enzyme to the modified substrate, even where the modification is taken away."""
    enzyme = _agent(statement, "enz")
    if enzyme is None:
        return f"{kind} without an enzyme"
    substrate, (residue, position) = _needed(kind, statement, "sub"), read_site(statement)
    modified = node(substrate, Modification(_MODIFICATIONS[kind], residue, position))
    return Reading([(node(enzyme), modified)], partial(_key, kind, (enzyme, substrate), str(residue), str(position)))


def _of_itself(kind: str, statement: Mapping[str, Any]) -> Reading | str:
    """From a kinase to itself alone, phosphorylated; in trans, to what it is bound to, phosphorylated."""
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
    return Reading([(node(enzyme), modified)], partial(_key, kind, (enzyme,), str(residue), str(position)))


def _active_form(kind: str, statement: Mapping[str, Any]) -> Reading | str:
    """From the agent in each of its states to the agent."""
    agent = _needed(kind, statement, "agent")._replace(activity=None)
    activity, is_active = text(statement, "activity"), truth(statement, "is_active")
    rest = "activity" if activity is None else activity, str(is_active)
    return Reading(_states(agent), partial(_key, kind, (agent,), *rest))


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


def _conversion(kind: str, statement: Mapping[str, Any]) -> Reading | str:
    """From the controller to the reaction."""
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

    return Reading([(node(controller), reaction)], key)


def _listed(agents: Sequence[Agent]) -> str:
    return ", ".join(sorted(map(entity, agents)))


def _complex(kind: str, statement: Mapping[str, Any]) -> Reading | str:
    """From each member to each after it."""
    members = _agents(statement, "members")
    if not members:
        raise UnusableError(f"{kind} without members")
    if len(members) == 1:
        return f"{kind} of one member"
    if len(members) > MOST_MEMBERS:
        return f"{kind} of more than {MOST_MEMBERS} members"
    return Reading(_pairs(members), lambda: (Kind(kind), tuple(sorted(map(agent_key, members)))))


def _pairs(members: Sequence[Agent]) -> Iterator[Edge]:
    yield from combinations(map(node, members), 2)


_ADDED = (*ONTOLOGY, "ribosylation", "sumoylation")
_MODIFICATIONS = {
    "Modification": "modification",
    **{name.capitalize(): name for name in _ADDED},
    **{f"De{name}": name for name in _ADDED},
}

_FORMS: dict[str, Form] = {
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
#: Types that INDRA's assembler passes by.
_WITHOUT_EDGES = frozenset(
    ("Event", "HasActivity", "Influence", "Migration", "SelfModification", "Translocation", "Unresolved")
)
#: Types that end it: base classes of others, and what has no agents.
_NOT_IN_BEL = frozenset(("AddModification", "Association", "RegulateActivity", "RemoveModification", "Statement"))
