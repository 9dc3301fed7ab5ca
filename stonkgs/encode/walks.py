"""The graph half: two node names to the node numbers of their walks, and those to rows of vectors."""

import numpy as np
import numpy.typing as npt

from stonkgs.kge.store import KgeStore

#: What stands in a graph half where no node of the store does; a node's own number is 0 or more.
UNKNOWN, SEPARATOR, MASK = -1, -2, -3

#: The published numbers of those, which are the token numbers of BERT's [UNK], [SEP] and [MASK].
PUBLISHED = {UNKNOWN: 100, SEPARATOR: 102, MASK: 103}


def graph_half(kge: KgeStore, source: int, target: int) -> npt.NDArray[np.int32]:
    """walk(source), SEPARATOR, walk(target), SEPARATOR: int32 [2 L + 2] node numbers.

    A node that is unknown (-1), or has no walk, gives L times UNKNOWN.
    """
    half = np.full(2 * kge.walk_length + 2, SEPARATOR, np.int32)
    for node, place in ((source, half[: kge.walk_length]), (target, half[kge.walk_length + 1 : -1])):
        # The store fills a missing walk with -1, which is UNKNOWN.
        place[:] = kge.walk(node) if node >= 0 else UNKNOWN
    return half


def vector_rows(numbers: npt.NDArray[np.int32], *, legacy_node_shift: bool) -> npt.NDArray[np.int32]:
    """The row of the store's vectors that stands for each node number; UNKNOWN, SEPARATOR and MASK stay as they are.

    The first implementation kept the numbers 100, 102 and 103 free for the special vectors when it assigned the
    vectors, but not when it numbered the nodes. From node 100 on, each node is read with a vector up to three places
    off, or with a special one. Its weights were trained so; with `legacy_node_shift` they find what they expect.
    """
    if not legacy_node_shift:
        return numbers
    rows = np.where(numbers > PUBLISHED[MASK], numbers - 3, numbers).astype(np.int32)
    for code, number in PUBLISHED.items():
        rows[numbers == number] = code
    rows[numbers == 101] = 100
    return rows


def published_numbers(numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The graph half as the first implementation writes it into `input_ids`: UNKNOWN is 100, SEPARATOR is 102."""
    published = numbers.copy()
    for code, number in PUBLISHED.items():
        published[numbers == code] = number
    return published
