"""What INDRA 1.24 and PyBEL 0.15.5 themselves make of INDRA statements: `reference.py STATEMENTS.jsonl[.gz]`.

To be run by a Python that has both, which cannot be the one that has stonkgs; it needs nothing else. Prints a row a
line, [hash, belief, source, target, evidence] as JSON, in no order that means anything.
"""

import gzip
import json
import logging
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

#: INDRA statements in a graph at a time: a graph takes ten times the memory of its JSON.
AT_A_TIME = 5000

Row = tuple[int, float | None, str, str, str]


def main(path: str) -> None:
    """Print the rows of a file."""
    logging.disable(logging.WARNING)
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
        while statements := [json.loads(line) for line in islice(lines, AT_A_TIME)]:
            for row in rows(statements):
                print(json.dumps(row))


def rows(statements: list[dict[str, Any]]) -> Iterator[Row]:
    """A row for each edge that has an evidence, of the graph of INDRA statements."""
    from indra.assemblers.pybel import PybelAssembler  # type: ignore[import-not-found]
    from indra.statements import stmts_from_json  # type: ignore[import-not-found]

    graph = PybelAssembler(stmts_from_json(statements)).make_model()
    for source, target, edge in graph.edges(data=True):
        if edge.get("evidence"):
            [stmt_hash], [belief] = (edge["annotations"][name] for name in ("stmt_hash", "belief"))
            yield stmt_hash, belief, source.as_bel(), target.as_bel(), edge["evidence"]


if __name__ == "__main__":
    main(sys.argv[1])
