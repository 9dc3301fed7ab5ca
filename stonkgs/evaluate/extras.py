"""Checks for the packages that only fine-tuning needs, which `pip install 'stonkgs[train]'` installs."""

from importlib.util import find_spec

from stonkgs.errors import UserError


def require(package: str) -> None:
    """Raises UserError if `package`, given by its import name, is not installed. Imports nothing."""
    if find_spec(package) is None:
        raise UserError(f"fine-tuning needs {package}, which is not installed: pip install 'stonkgs[train]'")
