"""Writes checkpoints of a training whole or not at all, and reads them without running any code from them."""

from pathlib import Path
from typing import Any, Final

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from stonkgs.disk import publish
from stonkgs.errors import UserError, printable

#: The files in `checkpoints/`: the state that a training continues from,
LAST: Final = "last.ckpt"
#: the weights of the best validation,
BEST: Final = "best.ckpt"
#: and an empty file that says that the training has ended.
ENDED: Final = "ended"
#: What a training continues from.
STATE: Final = ("state_dict", "optimizer_states", "lr_schedulers", "pytorch-lightning_version", "stonkgs")
_REMEDY: Final = "start the training anew: overwrite=true"


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
    """Returns a checkpoint, its tensors on the CPU. Raises UserError if it cannot be read."""
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise whatever the unpickler meets
        raise UserError(f"{path}: the checkpoint cannot be read; {_REMEDY}") from error
    return checkpoint


def read_weights(path: Path, module: nn.Module, *, frozen: str) -> dict[str, Any]:
    """Returns a checkpoint that has the weights of `module`. Those whose names begin with `frozen` may be missing.

    Raises UserError if it has others: Lightning would leave out those that it does not know.
    """
    checkpoint, wanted = read(path), module.state_dict()
    held = checkpoint if isinstance(checkpoint, dict) else {}
    if lacks := [key for key in (STATE if path.name == LAST else ("state_dict",)) if key not in held]:
        raise UserError(f"{path}: the checkpoint lacks {lacks[0]!r}, is it another program's? {_REMEDY}")
    weights = checkpoint["state_dict"] if isinstance(checkpoint["state_dict"], dict) else {}
    shapes = {name: getattr(weight, "shape", None) for name, weight in weights.items()}
    missing = {name for name in wanted if name not in weights and not name.startswith(frozen)}
    differing = {name for name in shapes if name not in wanted or shapes[name] != wanted[name].shape}
    if odd := sorted(map(str, missing | differing)):
        raise UserError(f"{path}: belongs to another model, by {printable(odd[0])}; {_REMEDY}")
    return checkpoint
