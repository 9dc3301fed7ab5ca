"""Writes predictions as tab-separated values."""

from stonkgs.tables.tsv import Tsv
from stonkgs.writer.base import PredictionWriter


class TsvWriter(PredictionWriter):
    """Writes `predictions.tsv`: null is an empty field, and floats have enough digits to be read back exactly."""

    format = Tsv()
