"""Trainings in forks, which die where a test likes."""

import csv
import gc
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from stonkgs.cli import main
from stonkgs.train.callbacks import KeepLast
from stonkgs.train.stepwise import Stepwise
from stonkgs.train.stream import Share


def train(arguments: Sequence[str], folder: Path) -> int:
    """In this process."""
    return main(["train", *arguments, f"output_dir={folder}"])


def in_fork(arguments: Sequence[str], folder: Path, before: Callable[[], None]) -> int:
    """In a fork, which `before` may have killed: its exit status, or minus a signal's number."""
    gc.freeze()  # else the fork's first collection copies every page that holds an object
    if number := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    status = 99
    try:
        torch.set_num_threads(1)  # the threads of the parent's pool are not here
        before()
        status = train(arguments, folder)
    finally:
        os._exit(status)


def steps(folder: Path) -> list[dict[str, str]]:
    """history.csv"""
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def die_before(at: int) -> Callable[[], None]:
    """The process kills itself when it comes to this step."""

    def before() -> None:
        whole = Stepwise.training_step

        def dying(self: Stepwise, step: Share, number: int) -> torch.Tensor:
            if step.number == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(self, step, number)

        Stepwise.training_step = dying  # type: ignore[method-assign]

    return before


def die_writing(number: int) -> Callable[[], None]:
    """The process kills itself right after it has written its so-manieth checkpoint."""

    def before() -> None:
        left = number
        whole = KeepLast._save

        def dying(self: KeepLast, *args: Any) -> None:
            nonlocal left
            whole(self, *args)
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

        KeepLast._save = dying  # type: ignore[assignment, method-assign]

    return before


def write_plain(model: Path, to: Path) -> None:
    """The model without dropout."""
    to.mkdir()
    for file in model.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    config = json.loads((to / "config.json").read_text())
    for part in ("lm_backbone", "bert"):
        config[part] |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (to / "config.json").write_text(json.dumps(config))
