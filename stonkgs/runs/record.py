"""Describes a run so that somebody can repeat it: what decides its result, and where, when and how it was started."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar

from stonkgs.config import flatten
from stonkgs.runs.identity import COMMAND, DECISIVE, IGNORED, IGNORED_WITH_DIGEST, LABELS, MODEL, STORE, Identity

#: Values of an identity that run.json also shows under `settings`.
SETTINGS: Final = ("device", "precision", "split.rows", "threads")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What plan.json, training.json and run.json say of a run."""

    identity: Identity
    #: the whole configuration, resolved
    config: Mapping[str, Any]
    #: package -> version
    versions: Mapping[str, str]
    host: str
    python: str
    #: time in UTC
    started: str
    #: the command line; empty where the run was not started from one
    command: str = ""
    #: number of nodes in the store
    nodes: int
    #: class names in the order of the probabilities; empty for a training, which counts its classes later
    labels: tuple[str, ...] = ()
    #: whether a row may have several classes; None where that is not known
    multi_label: bool | None = None

    def with_defaults(self, defaults: Mapping[str, Any]) -> Self:
        """Returns the same record, with `defaults` for the values that its identity leaves open."""
        return replace(self, identity=self.identity.with_defaults(defaults))

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values; for human readers, `settings`, `model` and `kge` repeat some values of `identity`."""
        values = self.identity.values
        model = {"labels": list(self.labels), "multi_label": self.multi_label, "digest": values.get(MODEL)}
        return {
            **{key: getattr(self, key) for key in ("started", "command", "config")},
            "settings": {key: values[key] for key in SETTINGS if key in values},
            "input": [asdict(file) for file in self.identity.input],
            **({"model": model} if self.labels or COMMAND in values else {}),
            "kge": {"nodes": self.nodes, "digest": values.get(STORE)},
            **{key: getattr(self, key) for key in ("host", "python", "versions")},
            "identity": dict(values),
        }

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Reads what `to_json` of this or an earlier version returned. Raises ValueError where it is something else."""
        try:
            model = values.get("model", {"labels": []})
            return cls(
                identity=Identity.from_json(_identity(values), values["input"]),
                config=_expect(dict, values["config"]),
                versions={name: _expect(str, number) for name, number in values["versions"].items()},
                **{key: _expect(str, values[key]) for key in ("host", "python", "started")},
                command=_expect(str, values.get("command", "")),
                nodes=_expect(int, values["kge"]["nodes"]),
                labels=tuple(_expect(str, label) for label in _expect(list, model["labels"])),
                multi_label=None if model.get("multi_label") is None else _expect(bool, model["multi_label"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError("is no record of this version") from error


def _identity(values: Mapping[str, Any]) -> Any:
    """Returns the values of a record's identity; earlier versions wrote them elsewhere."""
    if "identity" in values:
        return values["identity"]
    if "deciding" in values:  # a training's
        return {name: value for name, value in values["deciding"].items() if name not in IGNORED}
    digests = {LABELS: values["model"]["labels"], MODEL: values["model"]["digest"], STORE: values["kge"]["digest"]}
    versions = {name: values["versions"][name] for name in DECISIVE}
    return {**dict(flatten(values["config"], IGNORED_WITH_DIGEST)), **values["settings"], **digests, **versions}


def _expect(kind: type[T], value: Any) -> T:
    """Returns the value. Raises TypeError where it is not exactly of this type."""
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} where {kind.__name__} is due")
    return value


def now() -> str:
    """Returns the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
