"""Sound INDRA statements of every type and shape that gives rows, made up."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

JSON = dict[str, Any]

MODIFIED = ["acetylation", "farnesylation", "geranylgeranylation", "glycosylation", "hydroxylation", "methylation"]
MODIFIED += ["myristoylation", "palmitoylation", "phosphorylation", "ribosylation", "sumoylation", "ubiquitination"]
ACTIVITIES = ["activity", "catalytic", "gap", "gef", "gtpbound", "kinase", "phosphatase", "transcription"]
NAMES = ["AKT1", "p53", "some thing", "back\\slash", "β-Alanine", "1.5-x", "!"]
NAMES += ['a "quoted" one', "it's", "both ' and \""]
REFERENCES = {
    "HGNC": ["391", "11998", "6840"],
    "UP": ["P31749", "P04637"],
    "UPPRO": ["PRO_0000027253"],
    "FPLX": ["ERK", "AMPK_alpha"],
    "PF": ["PF00069"],
    "IP": ["IPR000719"],
    "FA": ["03114"],
    "CHEBI": ["CHEBI:15996", "17552"],
    "PUBCHEM": ["2244"],
    "GO": ["GO:0006915"],
    "MESH": ["D009369"],
    "MIRBASE": ["MI0000651"],
    "DOID": ["DOID:162"],
    "HP": ["HP:0002664"],
    "EFO": ["0000311"],
    "TEXT": ["as it stands"],
}


@pytest.fixture(scope="session")
def sound() -> list[JSON]:
    """Statements that INDRA reads too; the first ones are one of each type, then it is by chance."""
    random = Random(0)
    makers = _makers(random)
    kinds = [*makers, *random.choices(list(makers), k=1500)]
    return [{"type": kind, **makers[kind](), **_rest(random)} for kind in kinds]


def _makers(random: Random) -> dict[str, Callable[[], JSON]]:
    def between(source: str, target: str) -> Callable[[], JSON]:
        return lambda: {source: _agent(random), target: _agent(random)}

    def activity() -> JSON:
        return {**between("subj", "obj")(), "obj_activity": random.choice(ACTIVITIES)}

    def modification() -> JSON:
        return {**between("enz", "sub")(), **_site(random)}

    def conversion() -> JSON:
        counts = random.choice([(1, 0), (0, 1), (2, 1), (1, 3)])
        sides = [[_agent(random) for _ in range(count)] for count in counts]
        return {"subj": _agent(random), "obj_from": sides[0], "obj_to": sides[1]}

    def active_form() -> JSON:
        agent = _agent(random)
        agent.pop("activity", None)
        return {"agent": agent, "activity": random.choice(ACTIVITIES), "is_active": random.random() < 0.5}

    def in_trans() -> JSON:
        return {"enz": {**_agent(random), "bound_conditions": [_bound(random, 1, True)]}, **_site(random)}

    return {
        **{name.capitalize(): modification for name in MODIFIED},
        **{f"De{name}": modification for name in MODIFIED},
        "Modification": modification,
        **dict.fromkeys(("Activation", "Inhibition", "GtpActivation"), activity),
        **dict.fromkeys(("IncreaseAmount", "DecreaseAmount", "RegulateAmount"), between("subj", "obj")),
        "Gef": between("gef", "ras"),
        "Gap": between("gap", "ras"),
        "ActiveForm": active_form,
        "Autophosphorylation": lambda: {"enz": _agent(random), **_site(random)},
        "Transphosphorylation": in_trans,
        "Conversion": conversion,
    }


def _agent(random: Random, depth: int = 0) -> JSON:
    spaces = random.sample(list(REFERENCES), k=random.choice([0, 1, 1, 2, 4]))
    references: JSON = {space: random.choice(REFERENCES[space]) for space in spaces}
    if spaces and random.random() < 0.1:
        references[spaces[0]] = [references[spaces[0]], "another"]
    agent: JSON = {"name": random.choice(NAMES), "db_refs": references}
    if random.random() < 0.3:
        kinds = random.choices([*MODIFIED, "modification", "nothing known"], k=random.choice([1, 2]))
        agent["mods"] = [{"mod_type": kind, **_site(random), **_flag(random, "is_modified")} for kind in kinds]
    if random.random() < 0.2:
        agent["mutations"] = [_mutation(random) for _ in range(random.choice([1, 1, 2]))]
    if depth < 3 and random.random() < 0.2:
        agent["bound_conditions"] = [_bound(random, depth + 1) for _ in range(random.choice([1, 1, 2]))]
    if random.random() < 0.1:
        agent["activity"] = {"activity_type": random.choice(ACTIVITIES), "is_active": random.random() < 0.5}
    if random.random() < 0.1:
        agent["location"] = random.choice(["nucleus", 'somebody\'s "place"'])
    return agent


def _bound(random: Random, depth: int, is_bound: bool | None = None) -> JSON:
    flag = _flag(random, "is_bound") if is_bound is None else {"is_bound": is_bound}
    return {"agent": _agent(random, depth), **flag}


def _flag(random: Random, key: str) -> JSON:
    return random.choice([{key: True}, {key: True}, {key: False}, {}])


def _site(random: Random) -> JSON:
    residues: list[JSON] = [{}, {"residue": "S"}, {"residue": "tyrosine"}, {"residue": "Thr"}]
    positions: list[JSON] = [{}, {"position": "473"}, {"position": 15}, {"position": None}, {"position": "0"}]
    return random.choice(residues) | random.choice(positions)


def _mutation(random: Random) -> JSON:
    return {
        "position": random.choice([None, "858", 600, "1-2", 0, ""]),
        "residue_from": random.choice([None, "V", "Leu"]),
        "residue_to": random.choice([None, "E", "aspartic acid"]),
    }


def _rest(random: Random) -> JSON:
    evidences: list[JSON] = [{"text": f"Sentence {number}.", "pmid": "1"} for number in range(random.choice([1, 1, 2]))]
    if random.random() < 0.3:
        evidences.append({"source_api": "signor"})
    beliefs: list[JSON] = [{}, {"belief": 1}, {"belief": random.random()}]
    return {"evidence": evidences, **random.choice(beliefs)}
