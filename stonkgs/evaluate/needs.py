"""Packages that predicting does without."""

from importlib.util import find_spec

from stonkgs.errors import UserError


def needs(package: str) -> None:
    """Raise UserError where `package`, by its import name, is not installed. Nothing is imported."""
    if find_spec(package) is None:
        raise UserError(f"fine-tuning needs {package}, which is not installed: pip install 'stonkgs[train]'")
