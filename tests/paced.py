"""What tests put beside a prediction on several devices, so that each of its processes has its part in it."""

import os
import signal
import time
from typing import Any

import psutil
import pytorch_lightning as pl

from stonkgs.engine.lightning import StatementData


class Paced(pl.Callback):
    """The first process begins when another has committed a part, and the others are in no hurry.

    `then` is what the first does before it begins: nothing, "kill" the others, or send itself a signal of this name.
    """

    def __init__(self, *, then: str | None = None) -> None:
        self.then = then

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = _data(trainer)
        if data.index or data.committed is None:
            return
        until = time.monotonic() + 120
        while not data.committed.listed(10_000).any():
            assert time.monotonic() < until, "nobody else has done anything"
            time.sleep(0.01)
        if self.then == "kill":
            for child in psutil.Process().children():
                child.kill()
                while child.status() != psutil.STATUS_ZOMBIE:  # who waits for it would take its exit status away
                    time.sleep(0.01)
        elif self.then:
            os.kill(os.getpid(), signal.Signals[self.then])

    def on_predict_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if _data(trainer).index:
            time.sleep(0.03)


def _data(trainer: pl.Trainer) -> StatementData:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, StatementData)
    return data
