"""`python -m stonkgs.cli.child`: one share of a prediction, for the command that has started this process.

The order comes from that command as JSON: the configuration, composed once, and the share. So it does not matter how
the command itself was given: as a program, a module, a job of a sweep, or from Python.
"""

import json
import sys
from typing import Any

from stonkgs.cli.command import guarded
from stonkgs.engine.interrupt import advising


def main() -> int:
    """Do the share; the exit status. The command that has started this process tells what has become of the run."""
    order = json.load(sys.stdin)
    return guarded(lambda: _predict(order), debug=order["config"]["debug"])


def _predict(order: dict[str, Any]) -> int:
    with advising(lambda: ""):
        from omegaconf import OmegaConf

        from stonkgs.engine.share import Share
        from stonkgs.predict import predict

        predict(OmegaConf.create(order["config"]), Share(**order["share"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
