"""Makes the record of a run that is about to begin: the one place, for all commands."""

import json
import platform
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from stonkgs.config import named
from stonkgs.kge.store import KgeStore
from stonkgs.model.rater import Rater
from stonkgs.runs.identity import DECISIVE, FREE, LABELS, MODEL, PREDICTING, STORE, Identity, flat
from stonkgs.runs.record import Record, now
from stonkgs.source.fingerprint import Fingerprint

#: Packages whose versions are told, those first that decide.
PACKAGES: Final = (*DECISIVE, "pytorch-lightning", "h5py", "pyarrow", "numpy")


def record_of(
    cfg: DictConfig,
    files: Sequence[str],
    decided: Mapping[str, Any],
    *,
    command: str,
    free: Collection[str] = FREE,
    packages: Sequence[str] = PACKAGES,
    **told: Any,
) -> Record:
    """The record of a run of `command` over `files`, by its configuration.

    Its identity is the configuration but for the keys that are `free`, what was `decided` beside it, the fingerprints
    of the files, and the versions of the packages that move bits. `told` are further fields of the record.
    """
    config: dict[str, Any] = _plain(named(cfg))
    versions = {package: version(package) for package in packages}
    values = {**dict(flat(config, free)), **_plain(decided), **{name: versions[name] for name in DECISIVE}}
    return Record(
        identity=Identity(values, tuple(map(Fingerprint.of, files))),
        config=config,
        versions=versions,
        host=platform.node(),
        python=sys.version.split()[0],
        started=now(),
        command=shlex.join(["stonkgs", command, *_overrides()]),
        **told,
    )


def prediction_record(
    cfg: DictConfig, files: Sequence[str], rater: Rater, kge: KgeStore, *, device: str, precision: str
) -> Record:
    """The record of a run that predicts. `split.rows` and `threads` are null where a run that is continued has them."""
    threads = cfg.threads if device == "cpu" else None  # a GPU's results do not move with them
    decided = {"device": device, "precision": precision, "threads": threads}
    digests = {LABELS: rater.labels, MODEL: rater.digest, STORE: kge.digest}
    return record_of(
        cfg,
        files,
        {**decided, **digests},
        command="predict",
        free=PREDICTING,
        nodes=kge.nodes,
        labels=rater.labels,
        multi_label=rater.multi_label,
    )


def _plain(values: Any) -> Any:
    """As JSON gives them back, to be compared with what is read from a file."""
    return json.loads(json.dumps(values, default=str))


def _overrides() -> list[str]:
    """What was said on the command line."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
