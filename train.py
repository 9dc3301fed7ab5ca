"""`python train.py KEY=VALUE ...` is `stonkgs train KEY=VALUE ...`."""

import sys

from stonkgs.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
