"""The table of faults fits the code: each can be made, and the tests that it names are there."""

from pathlib import Path

import pytest
from faults import ROOT, Edit, Fault, check, load

FAULTS = load()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_fits(fault: Fault) -> None:
    assert check([fault], ROOT) == []
    assert all(text != path.read_text("utf-8") for path, text in fault.applied(ROOT).items())


def test_each_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (Edit("a.py", "x = 1\n", "x = 2\n"), "this: 'x = 1' is 2 times in a.py"),
        (Edit("a.py", "y = 1", "y = 2"), "this: 'y = 1' is 0 times in a.py; once in stonkgs/moved.py"),
        (Edit("b.py", "x", "y"), "this: 'x' is 0 times in b.py"),
        (Edit("a.py", "x = 1\nx", "x = ("), "invalid syntax"),
    ],
)
def test_what_does_not_fit_is_told(edit: Edit, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    (tmp_path / "stonkgs").mkdir()
    (tmp_path / "stonkgs" / "moved.py").write_text("y = 1\n")
    (said,) = check([Fault("this", "", (), (edit,))], tmp_path)
    assert told in said
    assert check([Fault("this", "", ("a.py", "a.py::test_x"), ())], tmp_path) == ["this: there is no test a.py::test_x"]
