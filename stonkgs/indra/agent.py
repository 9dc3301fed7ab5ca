"""Reads the agents of INDRA's JSON and checks them, so that later code may rely on their types."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stonkgs.indra.checks import described, is_nan, items, mapping, shown, text, truth, whole
from stonkgs.statement import UnusableError

#: The most levels of agents that are bound to agents that are bound to agents. On each level INDRA's key of a statement
#: has four times as many escapes.
DEPTH = 5

#: One-letter code of an amino acid -> its three-letter code, which BEL uses, and its name.
_AMINO_ACIDS = {
    "A": ("Ala", "alanine"),
    "C": ("Cys", "cysteine"),
    "D": ("Asp", "aspartic acid"),
    "E": ("Glu", "glutamic acid"),
    "F": ("Phe", "phenylalanine"),
    "G": ("Gly", "glycine"),
    "H": ("His", "histidine"),
    "I": ("Ile", "isoleucine"),
    "K": ("Lys", "lysine"),
    "L": ("Leu", "leucine"),
    "M": ("Met", "methionine"),
    "N": ("Asn", "asparagine"),
    "P": ("Pro", "proline"),
    "Q": ("Gln", "glutamine"),
    "R": ("Arg", "arginine"),
    "S": ("Ser", "serine"),
    "T": ("Thr", "threonine"),
    "V": ("Val", "valine"),
    "W": ("Trp", "tryptophan"),
    "Y": ("Tyr", "tyrosine"),
}
#: One-letter code -> three-letter code.
RESIDUES = {letter: short for letter, (short, _) in _AMINO_ACIDS.items()}
_LETTERS = {
    spelled: letter
    for letter, (short, name) in _AMINO_ACIDS.items()
    for spelled in (short.lower(), name, name.replace(" ", "_"))
}


class Modification(NamedTuple):
    """A modification of a protein, or its known absence."""

    #: INDRA's word for it, such as "phosphorylation"
    kind: str
    #: one-letter code
    residue: str | None
    position: str | None
    is_modified: bool = True


class Mutation(NamedTuple):
    """An amino acid in the place of another, both as one-letter codes."""

    position: int | str | None
    residue_from: str | None
    residue_to: str | None


class Activity(NamedTuple):
    """An activity that an agent has or lacks."""

    kind: str
    is_active: bool


class Agent(NamedTuple):
    """A molecule or a process, with the state that it is in."""

    name: str
    #: namespace -> identifiers as in the JSON; `reference` checks and returns them
    references: Mapping[str, Any]
    modifications: tuple[Modification, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    bound: tuple["Bound", ...] = ()
    activity: Activity | None = None
    location: str | None = None


class Bound(NamedTuple):
    """An agent that another is bound to, or is known not to be."""

    agent: Agent
    is_bound: bool


def read_agent(value: Any, role: str, depth: int = 0) -> Agent:
    """Returns an agent from its JSON. `role` names it in messages.

    Raises UnusableError where it has no name or its state is invalid.
    """
    if not isinstance(value, dict):
        raise UnusableError(f"{role} is {described(value)}, not an object")
    name = value.get("name")
    if not isinstance(name, str) or not name.strip():
        raise UnusableError(f"{role} has no name")
    try:
        references = mapping(value, "db_refs") or {}
        if _STATE.isdisjoint(value):  # true of nearly all agents
            return Agent(name, references)
        return Agent(name, references, *_state(value, depth))
    except UnusableError as error:
        raise UnusableError(f"agent {shown(name)}: {error}") from error


_STATE = frozenset(("mods", "mutations", "bound_conditions", "activity", "location"))


def _state(
    value: dict[str, Any], depth: int
) -> tuple[tuple[Modification, ...], tuple[Mutation, ...], tuple[Bound, ...], Activity | None, str | None]:
    """Returns the fields of an Agent behind its name and references."""
    return (
        tuple(map(_modification, items(value, "mods"))),
        tuple(map(_mutation, items(value, "mutations"))),
        tuple([_bound(item, depth + 1) for item in items(value, "bound_conditions")]),
        _activity(value.get("activity")),
        text(value, "location"),
    )


def _modification(value: Any) -> Modification:
    if not isinstance(value, dict):
        raise UnusableError(f"one of its mods is {described(value)}, not an object")
    kind = text(value, "mod_type")
    if not kind:
        raise UnusableError("one of its mods has no mod_type")
    return Modification(kind, *read_site(value), truth(value, "is_modified"))


def read_site(value: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Returns the residue (one-letter code) and the position of a modification. Raises UnusableError for others."""
    position = _position(value)
    return _residue(value, "residue"), None if position is None else str(position)


def _mutation(value: Any) -> Mutation:
    if not isinstance(value, dict):
        raise UnusableError(f"one of its mutations is {described(value)}, not an object")
    return Mutation(_position(value), _residue(value, "residue_from"), _residue(value, "residue_to"))


def _bound(value: Any, depth: int) -> Bound:
    if depth > DEPTH:
        raise UnusableError(f"agents are bound to agents more than {DEPTH} deep")
    if not isinstance(value, dict):
        raise UnusableError(f"one of its bound_conditions is {described(value)}, not an object")
    if value.get("agent") is None:
        raise UnusableError("one of its bound_conditions has no agent")
    return Bound(read_agent(value["agent"], "a bound agent", depth), truth(value, "is_bound"))


def _activity(value: Any) -> Activity | None:
    if value is None or is_nan(value):
        return None
    if not isinstance(value, dict):
        raise UnusableError(f"its activity is {described(value)}, not an object")
    # INDRA takes an empty object for no activity, and an activity without a type for "activity".
    return Activity(text(value, "activity_type") or "activity", truth(value, "is_active")) if value else None


def _residue(value: Mapping[str, Any], key: str) -> str | None:
    found = text(value, key)
    if found is None or found in RESIDUES:
        return found
    if letter := _LETTERS.get(found.lower()):
        return letter
    raise UnusableError(f"{key} {shown(found)} is no amino acid")


def _position(value: Mapping[str, Any]) -> int | str | None:
    found = value.get("position")
    # Python refuses to write numbers of very many digits as text.
    if found is None or isinstance(found, str):
        return found
    if is_nan(found):
        return None
    if (number := whole(found)) is not None:
        return number
    raise UnusableError(f"position is {described(found)}, not a whole number of 64 bits or a text")


def reference(agent: Agent, namespace: str) -> str | None:
    """Returns the agent's identifier in a namespace, the first of several, None where it has none.

    Raises UnusableError where it is no text.
    """
    found = agent.references.get(namespace)
    if isinstance(found, list):
        if not (found and found[0]):
            raise UnusableError(f"agent {shown(agent.name)}: {namespace} in db_refs is a list without an identifier")
        found = found[0]
    if found is None or isinstance(found, str) or is_nan(found):
        return found if found and isinstance(found, str) else None
    raise UnusableError(f"agent {shown(agent.name)}: {namespace} in db_refs is {described(found)}, not a text")
