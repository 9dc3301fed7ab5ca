"""1. Sources: they cut files into splits and read these lazily, as statements."""
