"""run.json: what a result came from, so that somebody can make it again."""

import json
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from omegaconf import DictConfig

from stonkgs.config import named
from stonkgs.model.digest import model_digest
from stonkgs.model.predictor import Predictor
from stonkgs.source.file import fingerprint

PACKAGES = ("stonkgs", "torch", "transformers", "tokenizers", "pytorch-lightning", "h5py", "pyarrow", "numpy")


def run_record(
    cfg: DictConfig, files: Sequence[str], predictor: Predictor, *, device: str, precision: str
) -> dict[str, Any]:
    """Configuration, versions, and the fingerprints of all that the run reads.

    `settings` among it are those that decide the result beside the configuration: `split.rows` and `threads` are None
    where they are left to the run that is continued.
    """
    settings = {"device": device, "precision": precision, "split.rows": cfg.split.rows}
    settings["threads"] = cfg.threads if device == "cpu" else None  # a GPU's results do not move with them
    record = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": named(cfg),
        "settings": settings,
        "input": [fingerprint(file) for file in files],
        "model": {"labels": list(predictor.labels), "digest": model_digest(predictor.model)},
        "kge": {"nodes": predictor.kge.nodes, "digest": predictor.kge.digest},
        "host": platform.node(),
        "python": sys.version.split()[0],
        "versions": {package: version(package) for package in PACKAGES},
    }
    read_back: dict[str, Any] = json.loads(json.dumps(record, default=str))  # to be compared with one from a file
    return read_back
