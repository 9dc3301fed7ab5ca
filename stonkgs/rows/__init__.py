"""Rows in memory, such as those of a notebook, for the Predictor."""
