"""The KGE store as a file: its format, and building one from text files."""
