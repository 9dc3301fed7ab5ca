"""Writes predictions as JSON Lines."""

from stonkgs.tables.jsonl import Jsonl
from stonkgs.writer.base import PredictionWriter


class JsonlWriter(PredictionWriter):
    """Writes `predictions.jsonl`: one object for each row; columns of JSON become JSON again, not text."""

    format = Jsonl()
