"""run.json: what a result came from, so that somebody can make it again."""

import hashlib
import json
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from stonkgs.model.network import Network
from stonkgs.model.predictor import Predictor
from stonkgs.source.file import naming

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
        "config": OmegaConf.to_container(cfg, resolve=True),
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


def model_digest(model: Network) -> str:
    """sha256 of what decides a model's results, wherever it was read from: configuration, tokenizer and weights."""
    digest = hashlib.sha256(model.config.to_json().encode())
    digest.update(model.text.tokenizer.to_str().encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        # As bytes, because numpy has no bfloat16; a tensor at a time, and no copy on a CPU.
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def fingerprint(path: str) -> dict[str, str | int]:
    """What tells a file from another in a moment: size, time, and a hash of its first and last MB."""
    with naming(path), open(path, "rb") as file:
        stat = Path(path).stat()
        digest = hashlib.sha256(file.read(1 << 20))
        file.seek(max(0, stat.st_size - (1 << 20)))
        digest.update(file.read(1 << 20))
    name = str(Path(path).resolve())
    return {"path": name, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ends": digest.hexdigest()}
