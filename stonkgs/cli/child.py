"""`python -m stonkgs.cli.child`: does one share of a run for the command that started this process.

It reads its order from stdin as JSON: the command, its composed configuration, and the share. So the command itself may
have been started in any way: as a program, a module, a job of a sweep, or from Python.
"""

import json
import sys
from importlib import import_module
from typing import Any

from stonkgs.cli.command import RUNS, guarded
from stonkgs.engine.interrupt import advising


def main() -> int:
    """Does the share; returns the exit status. The command that started this process prints the summary."""
    order = json.load(sys.stdin)
    return guarded(lambda: _run(order), debug=order["config"]["debug"])


def _run(order: dict[str, Any]) -> int:
    with advising(lambda: ""):
        from omegaconf import OmegaConf

        from stonkgs.engine.share import Share

        run = import_module(RUNS[order["command"]]).__dict__[order["command"]]
        run(OmegaConf.create(order["config"]), Share(**order["share"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
