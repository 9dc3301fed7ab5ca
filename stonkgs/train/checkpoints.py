"""Writes checkpoints of a training whole or not at all, and reads them without running any code from them."""

from pathlib import Path
from typing import Any, Final

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from stonkgs.disk import publish
from stonkgs.errors import UserError

#: The files in `checkpoints/`: the state that a training continues from,
LAST: Final = "last.ckpt"
#: the weights of the best validation,
BEST: Final = "best.ckpt"
#: and an empty file that says that the training has ended.
ENDED: Final = "ended"


class WholeCheckpoints(TorchCheckpointIO):
    """Replaces Lightning's writing, which copies from /tmp, perhaps another disk, and may leave half a checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with publish(Path(path)) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # a full disk: torch fails again when it closes the half-written archive
                raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        return read(Path(path))


def read(path: Path) -> dict[str, Any]:
    """Return a checkpoint, its tensors on the CPU. Raises UserError if it cannot be read."""
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint
    except Exception as error:  # damaged files raise whatever the unpickler meets
        raise UserError(f"{path}: the checkpoint cannot be read; start the training anew: overwrite=true") from error
