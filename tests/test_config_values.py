"""Values are checked by annotations: what fits, what does not, and in which words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from stonkgs.cli import CONFIG_DIR
from stonkgs.config.values import Count, Fraction, Range, Whole, check, checked, read_settings
from stonkgs.engine.settings import EmbedSettings, PredictSettings
from stonkgs.errors import UserError
from stonkgs.train.settings import TrainSettings

WRONG: list[tuple[Any, Any, str]] = [
    (Count, 0, "k=0: must be a whole number of 1 or more"),
    (Count, True, "k=True: must be a whole number of 1 or more"),
    (Count, 1.0, "k=1.0: must be a whole number of 1 or more"),
    (Count, 2**31, "k=2147483648: must be a whole number of 1 or more, at most 2,147,483,647"),
    (Count | None, "x", "k=x: must be a whole number of 1 or more"),
    (Whole, -1, "k=-1: must be a whole number of 0 or more"),
    (Fraction, 1, "k=1: must be a number from 0 to below 1"),
    (Fraction, float("nan"), "k=nan: must be a number from 0 to below 1"),
    (Annotated[float, Range(0, 1)], 2, "k=2: must be a number from 0 to 1"),
    (float, "1e-4", "k=1e-4: must be a number"),
    (bool, "no", "k=no: must be true or false"),
    (bool, 1, "k=1: must be true or false"),
    (str, 5, "k=5: must be a text"),
    (Literal["a", "b"], "c", "k=c: must be one of a, b"),
    (Literal["a", "b"] | None, 0, "k=0: must be one of a, b, null"),
    (Sequence[str] | None, "ab", "k=ab: must be a list of texts, such as [a,b]"),
    (Sequence[str], ["a", 1], "k=['a', 1]: must be a list of texts, such as [a,b]"),
    (Mapping[str, str], ["a"], "k=['a']: must be a table, such as {a: b}"),
    (Mapping[str, str], {"a": 1}, "k={'a': 1}: must be a table, such as {a: b}"),
    (str | Path, 5, "k=5: must be a text"),
]
RIGHT: list[tuple[Any, Any]] = [
    *((Count, 1), (Count, 2**31 - 1), (Whole, 0), (Fraction, 0), (Fraction, 0.5), (float, 3), (bool, False)),
    *((Count | None, None), (str, ""), (Literal["a"], "a"), (Sequence[str], ("a",)), (Mapping[str, str], {})),
    *((str | Path, Path("x")), (Any, object()), (Annotated[int, Range(1)], 2**40)),
]


@pytest.mark.parametrize(("annotation", "value", "line"), WRONG)
def test_what_does_not_fit(annotation: Any, value: Any, line: str) -> None:
    with pytest.raises(UserError) as error:
        check("k", value, annotation)
    assert str(error.value) == line


@pytest.mark.parametrize(("annotation", "value"), RIGHT)
def test_what_fits(annotation: Any, value: Any) -> None:
    check("k", value, annotation)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(UserError, match=r"^k=.{,120}: must be a whole"):
        check("k", "x" * 10_000, int)


class Made:
    """A constructor that is checked."""

    @checked("stage")
    def __init__(self, *, size: Count, name: str = "x") -> None:
        self.size, self.name = size, name


def test_a_constructor_says_its_key() -> None:
    assert Made(size=3).size == 3
    with pytest.raises(UserError, match=r"^stage\.size=0: must be a whole number of 1 or more$"):
        Made(size=0)
    with pytest.raises(UserError, match=r"^stage\.name=1: must be a text$"):
        Made(size=1, name=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nmae"):
        Made(size=1, nmae="x")  # type: ignore[call-arg]


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose(name, list(overrides))


#: Keys that other things look at: what is built, what is trusted, how processes share.
ELSEWHERE = {"source", "kge", "model", "writer", "trainer", "task", "protocol", "optimizer", "logger"}
ELSEWHERE |= {"trust", "splits"}


@pytest.mark.parametrize(
    ("name", "kind"), [("predict", PredictSettings), ("embed", EmbedSettings), ("train", TrainSettings)]
)
def test_each_key_of_a_command_has_a_type(name: str, kind: type[Any]) -> None:
    """A key that is added to a yaml and not to the settings, or the other way round, fails here."""
    cfg = composed(name)
    assert {*map(str, cfg)} - ELSEWHERE == {field.name for field in fields(kind)}
    for key, group in get_type_hints(kind).items():
        if is_dataclass(group):
            assert {*map(str, cfg[key])} == {field.name for field in fields(group)}
    settings = read_settings(cfg, kind)
    assert settings.batch.size == cfg.batch.size
    assert settings.debug is False


def test_a_group_of_keys_is_told_by_its_whole_name() -> None:
    with pytest.raises(UserError, match=r"^batch\.window=0: must be a whole number of 1 or more$"):
        read_settings(composed("predict", "batch.window=0"), PredictSettings)


def test_a_list_is_read_as_one() -> None:
    @dataclass(frozen=True)
    class Names:
        names: Sequence[str]

    hints = OmegaConf.create({"names": ["a", "b"]})
    assert read_settings(hints, Names).names == ["a", "b"]
