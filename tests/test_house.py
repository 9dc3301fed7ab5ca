"""The house: its rooms, who may use whom, and what a type checker is told of the public names."""

import ast
import re
from pathlib import Path
from typing import assert_type

import pytest

import stonkgs

ROOT = Path(stonkgs.__file__).parent
CHECKOUT = ROOT.parent
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
#: The most modules that may stand at the package's root.
MOST = 10


def test_imports_run_down_the_floors_and_in_no_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlinter import cli

    monkeypatch.chdir(CHECKOUT)  # where pyproject.toml is
    assert cli.lint_imports(no_cache=True) == 0


def test_the_root_holds_the_flow_and_the_leaves() -> None:
    assert len(list(ROOT.glob("*.py"))) <= MOST


def test_every_room_says_what_it_is_for() -> None:
    assert ROOMS
    tree = ast.get_docstring(ast.parse((ROOT / "__init__.py").read_text("utf-8"))) or ""
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    for room in ROOMS:
        assert ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text("utf-8"))), room
        assert re.search(rf"^ +(\d\. )?{room} ", tree, re.MULTILINE), room
        assert re.search(rf"(^| ) +{room}/ ", readme, re.MULTILINE), room


def test_public_names_are_what_they_say() -> None:
    for name in stonkgs.__all__:
        assert getattr(stonkgs, name).__name__ == name
    assert dir(stonkgs) == stonkgs.__all__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = stonkgs.nonsense  # type: ignore[attr-defined]


def _typed(predictor: stonkgs.Predictor, statement: stonkgs.Statement) -> None:
    """Never called: the type checker reads it, and refuses it where the public names are `Any`."""
    assert_type(predictor.labels, tuple[str, ...])
    assert_type(next(predictor.predict_iter([statement])), stonkgs.Prediction)
    assert_type(next(predictor.embed_iter([statement])), stonkgs.Embedding)
    predictor.nonsense()  # type: ignore[attr-defined]
