"""Says which row of a store's vectors is read for a node: its own, or with published weights one near it."""

import numpy as np
from numpy.typing import NDArray

#: Codes for positions of a graph half that hold no node. Node numbers are 0 or more.
UNKNOWN, SEPARATOR, MASK = -1, -2, -3

#: The numbers that the first implementation gives to these codes: the tokens [UNK], [SEP], [MASK] of BERT.
PUBLISHED_NUMBERS = {UNKNOWN: 100, SEPARATOR: 102, MASK: 103}


def vector_rows(numbers: NDArray[np.int32], *, legacy_node_shift: bool) -> NDArray[np.int32]:
    """Returns the row of the store's vectors that is read for each node number. The special codes stay the same.

    Usually this is the node's own row. The first implementation reserved the numbers 100, 102 and 103 for the special
    vectors when it assigned the vectors, but not when it numbered the nodes. So from node 100 on it read a vector up to
    three rows off, or a special one. Its weights were trained so, and `legacy_node_shift` reproduces it.
    """
    if not legacy_node_shift:
        return numbers
    rows = np.where(numbers > PUBLISHED_NUMBERS[MASK], numbers - 3, numbers).astype(np.int32)
    for code, number in PUBLISHED_NUMBERS.items():
        rows[numbers == number] = code
    rows[numbers == 101] = 100
    return rows
