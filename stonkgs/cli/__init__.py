"""The command line: `stonkgs predict ...`, `stonkgs train ...`, `stonkgs kge ...` and the others."""

from stonkgs.cli.command import CONFIG_DIR, entry, main, one_line

__all__ = ["CONFIG_DIR", "entry", "main", "one_line"]
