"""Parquet."""

from stonkgs.tables.parquet import Parquet
from stonkgs.writer.base import PredictionWriter


class ParquetWriter(PredictionWriter):
    """`predictions.parquet`: the input's own types; probabilities are float32."""

    format = Parquet()
