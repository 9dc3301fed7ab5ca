"""Runs the Predictor over the splits of an input, in one process or in several. See README.md here."""
