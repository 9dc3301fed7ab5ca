"""Nodes by name and by identifier: what is found, and that bytes decide where hashes do not."""

from collections.abc import Callable

import pytest

from stonkgs.kge.build import BuildSummary
from stonkgs.kge.store import KgeStore

Make = Callable[..., BuildSummary]
Opened = Callable[[], KgeStore]

#: in the order of their numbers; 2 and 3 stand for several nodes each
LABELLED = ["p(X:1 ! A)", "p(X:2 ! B)", "p(X:2 ! C)", "p(X:3)", "p(X:3 ! D)", 'p(X:"4 ! 5" ! E)', "µ ! naïve", "NA"]


def graph(names: list[str]) -> tuple[bytes, bytes]:
    """Texts of vectors and walks that tell the line a node is from, and the node itself."""
    vectors = "".join(f"{name}\t{line}\n" for line, name in enumerate(names))
    return vectors.encode(), "".join(f"{name}\t{name}\n" for name in dict.fromkeys(names)).encode()


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("p(X:1 ! A)", 0),
        ("p(X:1 ! renamed)", 0),
        ('p(X:1 ! "re, (named)")', 0),
        ("p(X:1)", 0),
        ("p(X:2 ! B)", -1),  # several nodes, even if one has this very name
        ("p(X:2)", -1),
        ("p(X:3)", -1),
        ('p(X:"4 ! 5")', 5),
        ('p(X:"4 ! 6")', -1),
        ("µ", 6),
        ("NA", 7),
        ("na", -1),
        ("p(x:1 ! A)", -1),
        ("p(X:1 ! A", -1),
        ("p(X:9 ! A)", -1),
        ("", -1),
        ("p(X:1 ! \ud800)", -1),
    ],
)
def test_a_node_is_identified_without_its_labels(make: Make, opened: Opened, name: str, node: int) -> None:
    make(*graph(LABELLED))
    store = opened()
    assert store.identified(name) == node
    assert store.identified(name) == node, "the cached answer"
    assert store.number(name) == (LABELLED.index(name) if name in LABELLED else -1), "which stays exact"


def test_names_that_share_a_hash(make: Make, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lookup", "index"):
        monkeypatch.setattr(f"stonkgs.kge.{module}.name_hash", _four_bits)
    names = [f"p(X:{number} ! node)" for number in range(199)] + ["p(X:5 ! other)"]
    make(*graph([*names, names[7], names[3], names[7]]))
    store = opened()
    assert store.nodes == 200
    assert [store.number(name) for name in names] == list(range(200))
    assert [store.identified(f"p(X:{number})") for number in range(200)] == [*range(5), -1, *range(6, 199), -1]
    assert [store.walk(number)[0] for number in range(200)] == list(range(200))
    assert store.number("p(X:200 ! node)") == -1
    assert store.vectors[[3, 7, 8], 0].tolist() == [201, 202, 8]


def _four_bits(name: bytes) -> int:
    return sum(name) % 16
