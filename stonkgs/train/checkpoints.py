"""Checkpoints of a training: there whole or not at all, and read as weights and numbers alone."""

from pathlib import Path
from typing import Any, Final

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from stonkgs.disk import publish
from stonkgs.errors import UserError

#: In `checkpoints/`: where a training goes on from, the weights of the best validation, and that it is through.
LAST: Final = "last.ckpt"
BEST: Final = "best.ckpt"
ENDED: Final = "ended"


class Published(TorchCheckpointIO):
    """Lightning's own writes by way of /tmp, which may be another disk: cut short, it leaves half a checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with publish(Path(path)) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # a full disk: torch closes its half of an archive, and fails at that again
                raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        return read(Path(path))


def read(path: Path) -> dict[str, Any]:
    """A checkpoint, on the CPU; UserError where it cannot be read."""
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint
    except Exception as error:  # damaged files raise whatever the unpickler meets
        raise UserError(f"{path}: no checkpoint that can be read; start the training anew: overwrite=true") from error
