"""Rate text-mined biomedical statements with cross-modal transformers, streaming.

The flow, each stage a module or folder, a config group and a folder of tests of the same name:

    1. source   files -> Statement            `stonkgs.source`   IterableDatasets over splits
    2. encode   Statement -> Example          `stonkgs.encode`   tokens, walks, memory-mapped vectors
    3. batch    Example -> Batch              `stonkgs.batch`    length-sorted, what is equal sent once
    4. model    Batch -> probabilities        `stonkgs.model`    network, checkpoints, Lightning module
    5. writer   probabilities -> files        `stonkgs.writer`   one part a split, joined in the input's order

`stonkgs.run` wires them on one screen, `stonkgs.train` fine-tunes with the same stages: a `stonkgs.task` says what is
learned, a `stonkgs.protocol` from which rows, `stonkgs.evaluate` how well. `stonkgs.cli` is the command line, and
`stonkgs.kge` makes the stores of knowledge graph embeddings that stage 2 reads.
"""

from importlib import import_module
from typing import Any

#: The public names, imported on first use: importing torch and Lightning takes seconds.
_WHERE = {
    "Statement": "stonkgs.statement",
    "Rejection": "stonkgs.statement",
    "UserError": "stonkgs.errors",
    "Source": "stonkgs.source.base",
    "TsvSource": "stonkgs.source.tsv",
    "CsvSource": "stonkgs.source.csv",
    "JsonlSource": "stonkgs.source.jsonl",
    "ParquetSource": "stonkgs.source.parquet",
    "IndraSource": "stonkgs.source.indra",
    "BelSource": "stonkgs.source.bel",
    "KgeStore": "stonkgs.encode.kge",
    "Encoder": "stonkgs.encode.encoder",
    "Example": "stonkgs.encode.encoder",
    "Batch": "stonkgs.batch",
    "Batches": "stonkgs.batch",
    "STonKGs": "stonkgs.model.network",
    "Predictor": "stonkgs.model.predictor",
    "Prediction": "stonkgs.model.predictor",
    "PredictionWriter": "stonkgs.writer.base",
    "Network": "stonkgs.model.network",
    "Task": "stonkgs.task",
    "Protocol": "stonkgs.protocol",
}

__all__ = sorted(_WHERE)  # noqa: PLE0605  # a list of the table's names


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'stonkgs' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
