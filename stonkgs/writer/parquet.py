"""Writes predictions as Parquet."""

from stonkgs.tables.parquet import Parquet
from stonkgs.writer.base import PredictionWriter


class ParquetWriter(PredictionWriter):
    """Writes `predictions.parquet`: columns keep the input's types; probabilities are float32."""

    format = Parquet()
