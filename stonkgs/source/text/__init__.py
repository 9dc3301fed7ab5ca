"""Where the records of a text file start and end: lines, quoted fields, items of JSON."""
