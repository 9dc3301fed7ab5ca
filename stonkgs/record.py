"""run.json: what a result came from, so that somebody can make it again."""

import hashlib
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stonkgs.model.predictor import Predictor
from stonkgs.source.split import Plan

PACKAGES = ("stonkgs", "torch", "transformers", "tokenizers", "pytorch-lightning", "h5py", "pyarrow", "numpy")


def run_record(cfg: DictConfig, plan: Plan, predictor: Predictor, device: str) -> dict[str, Any]:
    """Configuration, versions, and the fingerprints of all that the run reads."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": OmegaConf.to_container(cfg, resolve=True),
        "input": [fingerprint(file) for file in plan.files],
        "splits": len(plan),
        "model": {"labels": list(predictor.labels), "digest": model_digest(Path(cfg.model.path))},
        "kge": {"nodes": predictor.kge.nodes, "digest": predictor.kge.digest},
        "device": device,
        "host": platform.node(),
        "python": sys.version.split()[0],
        "versions": {package: version(package) for package in PACKAGES},
    }


def model_digest(folder: Path) -> str:
    """sha256 of a model folder's configuration and weights."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            with open(folder / name, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def fingerprint(path: str) -> dict[str, str | int]:
    """What tells a file from another in a moment: size, time, and a hash of its first and last MB."""
    stat = Path(path).stat()
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read(1 << 20))
        file.seek(max(0, stat.st_size - (1 << 20)))
        digest.update(file.read(1 << 20))
    name = str(Path(path).resolve())
    return {"path": name, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ends": digest.hexdigest()}
