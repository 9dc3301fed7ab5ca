"""Writes predictions or embeddings as an Arrow file."""

from stonkgs.tables.arrow import Arrow
from stonkgs.writer.base import PredictionWriter


class ArrowWriter(PredictionWriter):
    """Writes `predictions.arrow`: columns keep the input's types; readers map the file into memory."""

    format = Arrow()
