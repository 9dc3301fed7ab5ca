"""`python -m stonkgs ...` is `stonkgs ...`."""

from stonkgs.cli import entry

if __name__ == "__main__":
    entry()
