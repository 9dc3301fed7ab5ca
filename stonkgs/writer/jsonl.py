"""JSON Lines."""

from stonkgs.tables.jsonl import Jsonl
from stonkgs.writer.base import PredictionWriter


class JsonlWriter(PredictionWriter):
    """`predictions.jsonl`: an object a row; columns that hold JSON are objects again, not text."""

    format = Jsonl()
