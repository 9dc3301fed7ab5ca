"""Rows in memory, as people have them in a notebook, as statements."""
