"""What a training has come to: a table for people, a model card for whoever gets the model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stonkgs.disk import publish
from stonkgs.errors import printable
from stonkgs.train.card import model_card
from stonkgs.train.protocol import TEST

#: The figures of the table, by the names that metrics.json gives them.
SHOWN = ("weighted_f1", "macro_f1", "accuracy", "auroc", "auprc", "brier", "ece")


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training, or test."""

    record: dict[str, Any]
    output_dir: Path

    #: whether it was finished before this command
    before: bool = False

    @property
    def objective(self) -> float | None:
        """What a sweep looks for the best of: the monitored figure on the validation part, and never on the test part.

        The loss is called nll there, and a sweep minimises it.
        """
        name = "nll" if self.record["config"]["monitor"] == "loss" else self.record["config"]["monitor"]
        value: float | None = self.record["metrics"].get("validation", {}).get(name)
        return value

    def __str__(self) -> str:
        """Facts, then the test part's figures beside the majority's, each with its protocol; then what to beware of."""
        lines = [f"{name:10} {printable(value)}" for name, value in self._facts()]
        metrics = self.record["metrics"]
        columns = [part for part in (TEST, "majority", "validation") if part in metrics]
        lines += ["", f"{'':14}" + "".join(f"{name:>12}" for name in columns)]
        for name in SHOWN:
            lines.append(f"{name:14}" + "".join(f"{_number(metrics[part][name]):>12}" for part in columns))
        lines += ["", *(f"beware: {printable(text)}" for text in self.record["census"]["warnings"])]
        return "\n".join(lines).rstrip()

    def _facts(self) -> Iterator[tuple[str, str]]:
        census, task = self.record["census"], self.record["config"]["task"]
        yield "task", f"{task['name']}: {', '.join(census['classes'])}"
        yield "protocol", self.record["protocol"]
        for part, counts in census["parts"].items():
            classes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            yield part, f"{census['rows'][part]:,} rows: {classes}"
        if unused := ", ".join(f"{count:,} {reason}" for reason, count in census["unused"].items() if count):
            yield "not used", unused
        if census["rejected"]:
            yield "rejected", f"{census['rejected']:,} rows: {self.output_dir / 'rejected.jsonl'}"
        if self.record["config"]["mode"] == "train" and (self.output_dir / "model").exists():
            yield "model", str(self.output_dir / "model")
            yield "calibrated", f"temperature {self.record['temperature']:g}" + _why(self.record)
        if self.before:
            yield "finished", "before; nothing was done (overwrite=true starts anew)"
        yield "figures", f"{self.output_dir / 'metrics.json'}, {self.output_dir / 'plots'}"

    def write_card(self, path: Path) -> None:
        """The model folder's README.md."""
        record, census = self.record, self.record["census"]
        task = {"name": record["config"]["task"]["name"], "column": record["config"]["task"]["column"]}
        facts = {
            "task": {**task, "classes": census["classes"], "multi_label": census["multi_label"]},
            "protocol": record["protocol"],
            "data": {"files": record["input"], "rows": census["parts"]},
            "base": record["base"],
            **{key: record[key] for key in ("metrics", "temperature", "config", "versions", "finished", "command")},
        }
        with publish(path) as file:
            file.write(model_card(facts).encode())


def _why(record: Mapping[str, Any]) -> str:
    """Why probabilities are left as they are, if they are."""
    if record["temperature"] != 1 or not record["config"]["calibrate"]:
        return ""
    return ": as it is, the validation part shows no better one" if "validation" in record["metrics"] else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
