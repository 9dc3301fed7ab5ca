"""The KGE store: its file format, reading it, and building one from text files."""
