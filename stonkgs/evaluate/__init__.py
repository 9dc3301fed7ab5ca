"""Compares predictions with the truth: metrics, calibration and plots."""
