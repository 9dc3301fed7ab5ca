"""`python predict.py KEY=VALUE ...` is `stonkgs predict KEY=VALUE ...`."""

import sys

from stonkgs.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
