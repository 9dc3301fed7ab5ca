"""What decides a run's result: two runs of one identity give the same bytes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from stonkgs.source.fingerprint import Fingerprint

#: Packages whose version may move a result's bits.
DECISIVE: Final = ("stonkgs", "torch", "transformers", "tokenizers")
#: Values that a run which goes on takes over from the one that it continues, where its own are null.
TAKEN_OVER: Final = ("split.rows", "threads")
#: The names of what the digests stand for.
MODEL: Final = "the model's digest"
STORE: Final = "the KGE store's digest"
LABELS: Final = "the model's labels"
#: Keys of a configuration that move no byte of a result, or whose content counts instead of their name. Every other
#: key decides, so that a new one need not be entered anywhere.
FREE: Final = (
    *("output_dir", "overwrite", "debug", "trust", "any_kge", "num_workers", "start_method", "plan_only", "splits"),
    *("on_error", "checkpoint_every", "logger", "hydra", "trainer", "threads"),
    *("source.path", "kge.path", "kge._target_", "model.path", "model.tokenizer", "model.vocabulary"),
)
#: The same for a run that only predicts: of the model its digest counts, however it was found.
PREDICTING: Final = (*FREE, "model")


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything that decides a byte of a run's result."""

    #: flat, by the names that people give: `batch.size`, `source.columns.evidence`, `threads`, `torch`
    values: Mapping[str, Any]
    #: the files that the run reads, in order
    input: tuple[Fingerprint, ...] = ()

    @classmethod
    def from_json(cls, values: Any, files: Any) -> Self:
        """Raises ValueError where one of both is no JSON of an identity."""
        if not isinstance(values, dict) or not isinstance(files, list):
            raise ValueError("no identity")
        if not {type(values.get(key)) for key in TAKEN_OVER} <= {int, type(None)}:
            raise ValueError("no numbers")
        return cls(values, tuple(map(Fingerprint.from_json, files)))

    def settled(self, decided: Mapping[str, Any]) -> Self:
        """The same with the values that were left open: those of `decided` that are null, or not there."""
        open_ = {key: value for key, value in decided.items() if self.values.get(key) is None}
        return replace(self, values={**self.values, **open_})

    def differences(self, now: Self) -> str:
        """What another run does not share with this one, in words; nothing where both give one result."""
        return "; ".join([*_inputs(self.input, now.input), *_values(self.values, now.values)])


def flat(config: Mapping[str, Any], free: Collection[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of a configuration of many levels with its whole name, but what is `free`."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in free:
            continue
        if isinstance(value, dict):
            yield from flat(value, free, f"{name}.")
        else:
            yield name, value


def _values(was: Mapping[str, Any], is_: Mapping[str, Any]) -> Iterator[str]:
    for key in [*was, *(key for key in is_ if key not in was)]:
        then, given = was.get(key), is_.get(key)
        if then != given and not (key in TAKEN_OVER and given is None):
            yield f"{key} was {_shown(then)}, is {_shown(given)}"


def _inputs(was: Sequence[Fingerprint], is_: Sequence[Fingerprint]) -> Iterator[str]:
    """The first file that is not what it was: one is enough to go by."""
    if len(was) != len(is_):
        yield f"the input was {len(was):,} files, is {len(is_):,}"
        return
    for then, now in zip(was, is_, strict=True):
        if difference := then.difference(now):
            yield difference
            return


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = str(value)
    return text[:12] if len(text) == 64 else text if len(text) <= 80 else f"{text[:77]}..."
