"""Makes the record of a run that is about to begin, for all commands."""

import json
import platform
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from stonkgs.config import config_for_record, flatten
from stonkgs.kge.store import KgeStore
from stonkgs.model.answer import Responder
from stonkgs.runs.identity import (
    COMMAND,
    DECISIVE,
    IGNORED,
    IGNORED_WITH_DIGEST,
    LABELS,
    MODEL,
    PREDICT,
    STORE,
    Identity,
)
from stonkgs.runs.record import RunRecord, now
from stonkgs.source.fingerprint import Fingerprint

#: Packages whose versions are recorded.
PACKAGES: Final = (*DECISIVE, "pytorch-lightning", "h5py", "pyarrow", "numpy")


def new_record(
    cfg: DictConfig,
    inputs: Sequence[Fingerprint],
    values: Mapping[str, Any],
    *,
    command: str,
    ignored: Collection[str] = IGNORED,
    packages: Sequence[str] = PACKAGES,
    **fields: Any,
) -> RunRecord:
    """Returns the record of a run of `command` over files of these fingerprints, with further `fields`.

    Its identity holds the keys of the configuration that are not `ignored`, `values`, the fingerprints of the files,
    and the versions of the packages in `DECISIVE`.
    """
    config: dict[str, Any] = _through_json(config_for_record(cfg))
    versions = {package: version(package) for package in packages}
    decisive = {name: versions[name] for name in DECISIVE}
    return RunRecord(
        identity=Identity(
            {**dict(flatten(config, ignored)), **_through_json(values), **decisive},
            tuple(inputs),
        ),
        config=config,
        versions=versions,
        host=platform.node(),
        python=sys.version.split()[0],
        started=now(),
        command=shlex.join(["stonkgs", command, *_overrides()]),
        **fields,
    )


def answer_record(
    cfg: DictConfig, inputs: Sequence[Fingerprint], responder: Responder, kge: KgeStore, *, device: str, precision: str
) -> RunRecord:
    """Returns the record of a prediction, of which the labels decide too, or of embeddings.

    `split.rows` and `threads` may be null: see `RunFolder.begin`.
    """
    threads = cfg.threads if device == "cpu" else None  # threads do not change a GPU's results
    values = {"device": device, "precision": precision, "threads": threads}
    labels, command = tuple(responder.answer.labels), responder.answer.command
    kind = {LABELS: labels} if command == PREDICT else {COMMAND: command}
    digests = {MODEL: responder.digest, STORE: kge.digest}
    return new_record(
        cfg,
        inputs,
        {**values, **kind, **digests},
        command=command,
        ignored=IGNORED_WITH_DIGEST,
        nodes=kge.nodes,
        labels=labels,
        multi_label=responder.answer.multi_label,
    )


def _through_json(values: Any) -> Any:
    """Returns the values as they are read back from JSON, so that both can be compared."""
    return json.loads(json.dumps(values, default=str))


def _overrides() -> list[str]:
    """Returns the KEY=VALUE arguments of the command line; empty where the run was started from Python."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
