"""What decides the result of a training, beside its configuration."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from omegaconf import DictConfig

from stonkgs.runs.identity import STORE
from stonkgs.runs.record import RunRecord
from stonkgs.runs.recording import PACKAGES, new_record

if TYPE_CHECKING:
    from stonkgs.train.stages import Stages

#: What of the trainer moves a figure.
_TRAINER: Final = ("precision", "gradient_clip_val", "accumulate_grad_batches")


def training_record(cfg: DictConfig, stages: "Stages") -> RunRecord:
    """The record of a training that is about to begin."""
    packages = (*PACKAGES, "torchmetrics", "scikit-learn")
    decided, nodes = dict(_decided(cfg, stages)), stages.kge.nodes
    return new_record(cfg, stages.source.files(), decided, command="train", packages=packages, nodes=nodes)


def _decided(cfg: DictConfig, stages: "Stages") -> Iterator[tuple[str, Any]]:
    yield from ((f"trainer.{key}", cfg.trainer.get(key)) for key in _TRAINER)
    yield "processes", stages.trainer.world_size
    yield "device", stages.device
    yield from stages.start.decides().items()
    yield STORE, stages.kge.digest
