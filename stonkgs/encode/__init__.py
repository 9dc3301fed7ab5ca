"""2. Statement -> Example: text, walks and the memory-mapped KGE store."""
