"""Rate text-mined biomedical statements with cross-modal transformers, streaming.

The flow. Each stage is a room (a folder or a module), a config group and a folder of tests of the same name:

    1. source   files -> Statement         IterableDatasets over splits; `text/` finds where a record starts and ends
    2. encode   Statement -> Example       tokens, walks, memory-mapped vectors
    3. batch    Example -> Batch           sorted by length, what is equal is sent once
    4. model    Batch -> answers           probabilities or embeddings: networks, checkpoints, the Predictor
    5. writer   answers -> files           one part a split, joined in the input's order

`predict` wires them on one screen, for `stonkgs predict` and `stonkgs embed`. What stands beside them:

    kge         the store of knowledge graph embeddings that stage 2 reads
    graph       from triples to such a store: a graph of one's own, its walks and vectors, and what they have learned
    rows        rows in memory, as people have them in a notebook, for the Predictor
    runs        what a run leaves on the disk and goes on from: plan, parts, accounts, record, status
    engine      who carries splits to the Predictor: Lightning in one process, several processes over one folder
    train       pre-training and fine-tuning: a task says what is learned, a protocol from which rows
    evaluate    how good the answers are: figures, calibration, plots
    aggregate   from predictions of rows to one row a statement
    published   models and stores of the first implementation, fetched and converted by their names
    indra       INDRA statements and BEL edges -> Statement
    tables      Arrow tables as files, and what their types can hold
    cli         the command line
    config      what a config may build, and what values its keys may have

Leaves that everything may use: `statement` (the records that flow), `errors` (words for people), `disk` (files that are
there whole or not at all). `protocol` divides rows into training, validation and test part, and `division` records how.
`task` is an address for configs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what a type checker is told of the names below
    from stonkgs.batch import Batch, Batches
    from stonkgs.encode.encoder import Encoder, Example
    from stonkgs.errors import UserError
    from stonkgs.kge.store import KgeStore
    from stonkgs.model.embedder import Embedding
    from stonkgs.model.network import Network, STonKGs
    from stonkgs.model.predictor import Prediction, Predictor
    from stonkgs.protocol import Protocol
    from stonkgs.source.base import Source
    from stonkgs.source.bel import BelSource
    from stonkgs.source.csv import CsvSource
    from stonkgs.source.indra import IndraSource
    from stonkgs.source.jsonl import JsonlSource
    from stonkgs.source.parquet import ParquetSource
    from stonkgs.source.tsv import TsvSource
    from stonkgs.statement import Rejection, Statement
    from stonkgs.train.task import Task
    from stonkgs.writer.base import PredictionWriter

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
    "KgeStore": "stonkgs.kge.store",
    "Encoder": "stonkgs.encode.encoder",
    "Example": "stonkgs.encode.encoder",
    "Batch": "stonkgs.batch",
    "Batches": "stonkgs.batch",
    "STonKGs": "stonkgs.model.network",
    "Predictor": "stonkgs.model.predictor",
    "Prediction": "stonkgs.model.predictor",
    "Embedding": "stonkgs.model.embedder",
    "PredictionWriter": "stonkgs.writer.base",
    "Network": "stonkgs.model.network",
    "Task": "stonkgs.train.task",
    "Protocol": "stonkgs.protocol",
}

__all__ = [
    "Batch",
    "Batches",
    "BelSource",
    "CsvSource",
    "Embedding",
    "Encoder",
    "Example",
    "IndraSource",
    "JsonlSource",
    "KgeStore",
    "Network",
    "ParquetSource",
    "Prediction",
    "PredictionWriter",
    "Predictor",
    "Protocol",
    "Rejection",
    "STonKGs",
    "Source",
    "Statement",
    "Task",
    "TsvSource",
    "UserError",
]


if not TYPE_CHECKING:  # a checker would take any name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module 'stonkgs' has no attribute {name!r}")
        return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
