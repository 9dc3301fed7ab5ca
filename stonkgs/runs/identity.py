"""Says what decides a run's result: two runs of one identity give the same bytes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from stonkgs.source.fingerprint import Fingerprint

#: Packages whose version may change the last bits of a result.
DECISIVE: Final = ("stonkgs", "torch", "transformers", "tokenizers")
#: Values that a continued run takes over from the run under way, where its own are null.
TAKEN_OVER: Final = ("split.rows", "threads")
#: What the digests are called in `Identity.values`.
MODEL: Final = "the model's digest"
STORE: Final = "the KGE store's digest"
LABELS: Final = "the model's labels"
COMMAND: Final = "the command"
#: The command of a record that names none.
PREDICT: Final = "predict"
#: Keys of a configuration that change no byte of a result, or that name something whose content is compared instead.
#: Every other key decides, so a new key need not be entered anywhere.
IGNORED: Final = (
    *("output_dir", "overwrite", "debug", "trust", "any_kge", "num_workers", "start_method", "plan_only", "splits"),
    *("on_error", "checkpoint_every", "logger", "hydra", "trainer", "threads"),
    *("source.path", "kge.path", "kge._target_", "model.path", "model.tokenizer", "model.vocabulary"),
    *("model.backbone", "without.source.path"),
)
#: The same for predictions and embeddings, whose records compare the model's digest, not where it came from.
IGNORED_WITH_DIGEST: Final = (*IGNORED, "model")


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything that decides a byte of a run's result."""

    #: key -> value, by the names that users give: `batch.size`, `source.columns.evidence`, `threads`, `torch`
    values: Mapping[str, Any]
    #: the files that the run reads, in order
    input: tuple[Fingerprint, ...] = ()

    @classmethod
    def from_json(cls, values: Any, files: Any) -> Self:
        """Reads the values and the fingerprints of a record. Raises ValueError where they are something else."""
        if not isinstance(values, dict) or not isinstance(files, list):
            raise ValueError("no identity")
        if not {type(values.get(key)) for key in TAKEN_OVER} <= {int, type(None)}:
            raise ValueError("no numbers")
        return cls(values, tuple(map(Fingerprint.from_json, files)))

    @property
    def command(self) -> str:
        """The command whose run it is."""
        return str(self.values.get(COMMAND, PREDICT))

    def with_defaults(self, defaults: Mapping[str, Any]) -> Self:
        """Returns the same identity, with the values of `defaults` where its own are null or absent."""
        absent = {key: value for key, value in defaults.items() if self.values.get(key) is None}
        return replace(self, values={**self.values, **absent})

    def differences(self, now: Self) -> str:
        """Says in words how another run differs from this one; empty where both give the same result."""
        if self.command != now.command:  # so does much else
            return f"the command was {self.command}, is {now.command}"
        return "; ".join([*_input_differences(self.input, now.input), *_value_differences(self.values, now.values)])


def _value_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in [*before, *(key for key in now if key not in before)]:
        was, given = before.get(key), now.get(key)
        if was != given and not (key in TAKEN_OVER and given is None):
            yield f"{key} was {_shortened(was)}, is {_shortened(given)}"


def _input_differences(before: Sequence[Fingerprint], now: Sequence[Fingerprint]) -> Iterator[str]:
    """Yields how the first file that differs does so: one is enough to find the mistake."""
    if len(before) != len(now):
        yield f"the input was {len(before):,} files, is {len(now):,}"
        return
    for was, given in zip(before, now, strict=True):
        if difference := was.difference(given):
            yield difference
            return


def _shortened(value: Any) -> str:
    """Returns a value for a message; of a digest, which has 64 digits, the first 12."""
    if value is None:
        return "null"
    text = str(value)
    return text[:12] if len(text) == 64 else text if len(text) <= 80 else f"{text[:77]}..."
