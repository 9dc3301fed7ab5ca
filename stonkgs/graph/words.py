"""Puts into words what a store says of the graph and the method that it was learned from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from stonkgs.graph.links import MATCHED, UNIFORM

#: Why a row is no triple of the graph, in words, by the keys of `graph.left_out` in a store's origin.
LEFT_OUT: Final = {
    "rejected": "cannot be read",
    "empty": "have an empty name",
    "group": "are of groups that are tested",
    "pair": "state the same two nodes as a tested row",
    "where": "have a value of without.where",
}


def left_out_words(counts: Mapping[str, int]) -> str:
    """Returns in words how many rows are no triples, and why; "none" if all are."""
    return ", ".join(f"{count:,} {LEFT_OUT[reason]}" for reason, count in counts.items() if count) or "none"


def origin_words(origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns labels and texts. Empty for a store that was not learned here, or says it in another way."""
    try:
        return list(_words(origin))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return []


def _words(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    graph, without = origin["graph"], origin["without"]
    settings = ", ".join(f"{name}={value}" for name, value in origin["settings"].items())
    yield "method", f"{origin['method']}: {settings}"
    yield "graph", f"{graph['nodes']:,} nodes, {graph['edges']:,} edges, {graph['relations']:,} relations"
    yield (
        "triples",
        (
            f"{graph['triples']:,} of {graph['rows']:,} rows; {graph['duplicates']:,} rows repeat one, "
            f"{graph['self_loops']:,} triples are self-loops"
        ),
    )
    yield "graph digest", graph["digest"]
    yield "rows left out", left_out_words(graph["left_out"])
    if "division" in without:
        yield "left out for", f"the test part: {without['division']['name']}"
        kept = "left out too" if without["pairs"] else "kept where other rows state them"
        count = without["pairs_stated"]
        yield "tested pairs", f"{kept}; the graph holds {count:,} of the {without['pairs_tested']:,}"
    links = origin["links"]
    if links is None:
        yield "links", "not tested"
    else:
        yield "links", f"{links['edges']:,} held-out edges, by {links['scorer']}"
        for kind in (UNIFORM, MATCHED):
            found = ", ".join(f"{title} {_both(links[kind], name)}" for title, name in _FIGURES)
            yield "", f"{kind} negatives: {found}"


#: Titles of the figures, and their names in a store's origin.
_FIGURES: Final = (("AUC", "auc"), ("hits@10", "hits_at_10"))


def _both(figures: Mapping[str, Sequence[float]], name: str) -> str:
    return f"{_spread(figures.get(name))} (product of degrees {_spread(figures.get(f'degrees_{name}'))})"


def links_table(links: Mapping[str, Any] | None) -> list[str]:
    """Returns the lines of a table of link prediction figures."""
    if links is None:
        return []
    hits = f"hits@10 of {links['ranked_with'] + 1}"
    lines = [
        "",
        f"link prediction of {links['edges']:,} held-out edges, before the vectors were learned anew from all edges",
        f"{'':16}{'AUC':^34}{hits:^34}",
        f"{'negatives':16}" + 2 * f"{'vectors':>17}{'degrees':>17}",
    ]
    for kind in (UNIFORM, MATCHED):
        cells = [_spread(links[kind].get(f"{which}{name}")) for _, name in _FIGURES for which in ("", "degrees_")]
        lines.append(f"{kind:16}" + "".join(f"{cell:>17}" for cell in cells))
    return [
        *lines,
        f"vectors: {links['scorer']}, fitted on the other half of the held-out edges; degrees: their product",
        f"mean ± standard deviation of {links['draws']} draws of negatives",
    ]


def _spread(figure: Sequence[float] | None) -> str:
    return "-" if figure is None else f"{figure[0]:.3f} ± {figure[1]:.3f}"
