"""Tab-separated values."""

from stonkgs.tables.tsv import Tsv
from stonkgs.writer.base import PredictionWriter


class TsvWriter(PredictionWriter):
    """`predictions.tsv`: null is an empty field, floats have the digits that read back exactly."""

    format = Tsv()
