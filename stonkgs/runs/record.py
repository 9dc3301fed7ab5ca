"""The record of a run: what decided its result, and what else is told of it, so that somebody can make it again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar

from stonkgs.runs.identity import DECISIVE, FREE, LABELS, MODEL, PREDICTING, STORE, Identity, flat

#: Values of an identity that run.json shows by themselves, too.
SETTINGS: Final = ("device", "precision", "split.rows", "threads")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What plan.json, training.json and run.json say of a run."""

    identity: Identity
    #: the configuration with everything resolved
    config: Mapping[str, Any]
    #: package -> version
    versions: Mapping[str, str]
    host: str
    python: str
    #: UTC
    started: str
    #: what was typed; nothing where the run was not started from a command line
    command: str = ""
    #: nodes of the store
    nodes: int
    #: class names in the order of the probabilities; a training counts its classes later
    labels: tuple[str, ...] = ()
    #: whether a row may be of several classes; None where nobody has said
    multi_label: bool | None = None

    def settled(self, decided: Mapping[str, Any]) -> Self:
        """The same, where whoever begins the run has decided what was left open."""
        return replace(self, identity=self.identity.settled(decided))

    def to_json(self) -> dict[str, Any]:
        """As JSON values. `settings`, `model` and `kge` show to people what stands in `identity`, too."""
        values = self.identity.values
        model = {"labels": list(self.labels), "multi_label": self.multi_label, "digest": values.get(MODEL)}
        return {
            **{key: getattr(self, key) for key in ("started", "command", "config")},
            "settings": {key: values[key] for key in SETTINGS if key in values},
            "input": [asdict(file) for file in self.identity.input],
            **({"model": model} if self.labels else {}),
            "kge": {"nodes": self.nodes, "digest": values.get(STORE)},
            **{key: getattr(self, key) for key in ("host", "python", "versions")},
            "identity": dict(values),
        }

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """What `to_json` has told, or the record of a run of an earlier version; ValueError where it is neither."""
        try:
            model = values.get("model", {"labels": []})
            return cls(
                identity=Identity.from_json(_identity(values), values["input"]),
                config=_of(dict, values["config"]),
                versions={name: _of(str, number) for name, number in values["versions"].items()},
                **{key: _of(str, values[key]) for key in ("host", "python", "started")},
                command=_of(str, values.get("command", "")),
                nodes=_of(int, values["kge"]["nodes"]),
                labels=tuple(_of(str, label) for label in _of(list, model["labels"])),
                multi_label=None if model.get("multi_label") is None else _of(bool, model["multi_label"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError("is no record of this version") from error


def _identity(values: Mapping[str, Any]) -> Any:
    """The identity that a record names, or that follows from one that was written before records named it."""
    if "identity" in values:
        return values["identity"]
    if "deciding" in values:  # a training's
        return {name: value for name, value in values["deciding"].items() if name not in FREE}
    digests = {LABELS: values["model"]["labels"], MODEL: values["model"]["digest"], STORE: values["kge"]["digest"]}
    versions = {name: values["versions"][name] for name in DECISIVE}
    return {**dict(flat(values["config"], PREDICTING)), **values["settings"], **digests, **versions}


def _of(kind: type[T], value: Any) -> T:
    """The value, of just this type."""
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} where {kind.__name__} is due")
    return value


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
