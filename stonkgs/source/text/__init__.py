"""Scanners: they find where the records of a text file start and end, as lines, quoted fields or items of JSON."""
