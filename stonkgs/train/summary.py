"""The result of a training: reads and writes run.json, prints a summary, and writes the model card."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from stonkgs.disk import publish
from stonkgs.errors import printable
from stonkgs.protocol import TEST
from stonkgs.runs.record import RunRecord
from stonkgs.train.card import model_card, pretrained_card

#: The figures of the printed table, by their names in metrics.json.
SHOWN: Final = ("weighted_f1", "macro_f1", "accuracy", "auroc", "auprc", "brier", "ece")
#: The same for a pre-training.
SHOWN_MASKED: Final = (
    *("loss", "text_loss", "entity_loss", "pair_loss"),
    *("text_accuracy", "entity_accuracy", "pair_accuracy"),
)
#: The keys of run.json beside those of the record, and the types of their values.
KEYS: Final[dict[str, type | tuple[type, ...]]] = {
    **{"protocol": str, "base": str, "finished": str, "census": dict, "metrics": dict},
    "temperature": (int, float),
}
#: Keys of run.json that earlier versions did not write, and which may be null.
LATER: Final[dict[str, type]] = {"calibration": dict, "remarks": list}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished training, or with mode=test a finished test."""

    record: RunRecord
    protocol: str
    #: what the training started from
    base: str
    #: when it was finished, in UTC
    finished: str
    #: the counts of rows: `Census.report`
    census: Mapping[str, Any]
    #: the content of metrics.json: part -> figures
    metrics: Mapping[str, Mapping[str, Any]]
    temperature: float
    #: what the temperature was fitted on, the fields of `Calibration`; None: none was fitted, or it is not known
    calibration: Mapping[str, Any] | None = None
    #: what to know about the model beside its figures, such as that it says the same of every row
    remarks: Sequence[str] = field(default_factory=list)
    output_dir: Path
    #: whether an earlier command has finished it
    before: bool = False

    def to_json(self) -> dict[str, Any]:
        """Returns the content of run.json."""
        return {**self.record.to_json(), **{key: getattr(self, key) for key in (*KEYS, *LATER)}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], output_dir: Path) -> Self:
        """Read a training that was finished before from its run.json. Raises ValueError if that is damaged."""
        record = RunRecord.from_json(values)
        fields = {key: values.get(key) for key in KEYS}
        if any(not isinstance(value, KEYS[key]) for key, value in fields.items()):
            raise ValueError("is no record of this version")
        fields |= {key: value for key, kind in LATER.items() if isinstance(value := values.get(key), kind)}
        return cls(record=record, output_dir=output_dir, before=True, **fields)  # type: ignore[arg-type]

    @property
    def objective(self) -> float | None:
        """The figure that a sweep optimises: the monitored one on the validation part, never on the test part.

        The monitored loss is the figure `nll`, which a sweep minimises. None without a validation part.
        """
        figures, name = self.metrics.get("validation", {}), self.record.config["monitor"]
        value: float | None = figures.get("nll" if name == "loss" and "nll" in figures else name)
        return value

    def __str__(self) -> str:
        """Returns the summary for people: rows and files, a table of figures, and warnings."""
        lines = [f"{name:10} {printable(value)}" for name, value in self._lines()]
        columns = [part for part in (TEST, "majority", "validation") if part in self.metrics]
        lines += ["", f"{'':14}" + "".join(f"{name:>12}" for name in columns)]
        for name in SHOWN if TEST in self.metrics else SHOWN_MASKED if columns else ():
            lines.append(f"{name:14}" + "".join(f"{_number(self.metrics[part].get(name)):>12}" for part in columns))
        lines += ["", *(f"beware: {printable(text)}" for text in self._warnings())]
        return "\n".join(lines).rstrip()

    def _warnings(self) -> list[str]:
        return [*self.census["warnings"], *self.remarks]

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Yields the summary's first lines, each a name and a text."""
        census, task = self.census, self.record.config["task"]
        yield "task", f"{task['name']}: {', '.join(census['classes'])}"
        yield "protocol", self.protocol
        for part, counts in census["parts"].items():
            classes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            yield part, f"{census['rows'][part]:,} rows: {classes}"
        if unused := ", ".join(f"{count:,} {reason}" for reason, count in census["unused"].items() if count):
            yield "not used", unused
        if census["rejected"]:
            yield "rejected", f"{census['rejected']:,} rows: {self.output_dir / 'rejected.jsonl'}"
        if self.record.config["mode"] == "train" and (self.output_dir / "model").exists():
            yield "model", str(self.output_dir / "model")
        if TEST in self.metrics and self.record.config["mode"] == "train" and (self.output_dir / "model").exists():
            yield "calibrated", f"temperature {self.temperature:g}: {calibration_words(self.calibration)}"
        if self.before:
            yield "finished", "before; nothing was done (overwrite=true starts anew)"
        yield "figures", f"{self.output_dir / 'metrics.json'}, {self.output_dir / 'plots'}"

    def write_card(self, path: Path) -> None:
        """Write the model folder's README.md."""
        record, census, task = self.record, self.census, self.record.config["task"]
        facts = {
            "data": {"files": list(map(asdict, record.identity.input)), "rows": census["parts"]},
            **{key: getattr(self, key) for key in ("protocol", "base", "metrics", "temperature", "finished")},
            "calibration": calibration_words(self.calibration),
            "warnings": self._warnings(),
            **{key: getattr(record, key) for key in ("config", "versions", "command")},
        }
        if TEST in self.metrics:
            named = {key: task[key] for key in ("name", "column")}
            named |= {key: census[key] for key in ("classes", "multi_label")}
            text = model_card({**facts, "task": named})
        else:
            text = pretrained_card({**facts, "name": task["name"]})
        with publish(path) as file:
            file.write(text.encode())


def calibration_words(found: Mapping[str, Any] | None) -> str:
    """Say what a temperature was fitted on, and whether it helped; `found` has the fields of `Calibration`."""
    if not found:
        return "none was fitted"
    where = f"fitted on the {found['rows']:,} rows of the validation part"
    if found["after"] is None:
        return f"{where}, too few to tell whether it helps"
    halves = "on halves that it was not fitted on, the negative log-likelihood goes from"
    change = f"{halves} {found['before']:.4f} to {found['after']:.4f}"
    if found["temperature"] != 1:
        return f"{where}; {change}"
    if found["fitted"] == 1:
        return f"{where}, which show no better one"
    return f"{where}, which give {found['fitted']:g}, but it does not help reliably, so it is left at 1: {change}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
