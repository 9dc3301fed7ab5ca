"""What a training came from, so that somebody can make it again, and what it may be continued with."""

import json
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from stonkgs.config import named
from stonkgs.model.digest import model_digest
from stonkgs.model.fresh import Fresh
from stonkgs.model.network import Network
from stonkgs.runs.differences import DECISIVE
from stonkgs.runs.record import PACKAGES
from stonkgs.source.file import fingerprint

if TYPE_CHECKING:
    from stonkgs.train.stages import Stages

#: Keys that do not move a figure, or whose content counts instead of their name.
_FREE: Final = (
    *("output_dir", "overwrite", "debug", "trust", "any_kge", "num_workers", "start_method", "checkpoint_every"),
    *("logger", "hydra", "trainer", "threads"),
    *("source.path", "kge.path", "model.path", "model.tokenizer", "model.vocabulary"),
)
#: What of the trainer does move one.
_TRAINER: Final = ("precision", "gradient_clip_val", "accumulate_grad_batches")


def training_record(cfg: DictConfig, stages: "Stages") -> dict[str, Any]:
    """Configuration, versions, fingerprints of all that is read; `deciding` is what moves a figure."""
    config = named(cfg)
    versions = {package: version(package) for package in (*PACKAGES, "torchmetrics", "scikit-learn")}
    record = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["stonkgs", "train", *_overrides()]),
        "config": config,
        "input": [fingerprint(file) for file in stages.source.files()],
        "kge": {"nodes": stages.kge.nodes, "digest": stages.kge.digest},
        "protocol": stages.protocol.name,
        "deciding": dict(_deciding(config, stages, versions)),
        "host": platform.node(),
        "python": sys.version.split()[0],
        "versions": versions,
    }
    read_back: dict[str, Any] = json.loads(json.dumps(record, default=str))  # to be compared with one from a file
    return read_back


def _overrides() -> list[str]:
    """What was said on the command line."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def _deciding(config: Mapping[Any, Any], stages: "Stages", versions: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    yield from _flat({key: value for key, value in config.items() if key not in _FREE})
    yield from ((f"trainer.{key}", config["trainer"].get(key)) for key in _TRAINER)
    yield "processes", stages.trainer.world_size
    yield "device", stages.device
    if isinstance(stages.start, Network):
        yield "the model's digest", model_digest(stages.start)
    if isinstance(stages.start, Fresh) and stages.start.vocabulary:
        yield "the vocabulary", fingerprint(stages.start.vocabulary)["ends"]
    yield "the KGE store's digest", stages.kge.digest
    yield from ((package, versions[package]) for package in DECISIVE)


def _flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if name in _FREE:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value
