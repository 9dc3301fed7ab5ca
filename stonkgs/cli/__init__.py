"""The command line: `stonkgs predict ...`, `stonkgs kge ...`."""

from stonkgs.cli.command import CONFIG_DIR, entry, main, one_line

__all__ = ["CONFIG_DIR", "entry", "main", "one_line"]
