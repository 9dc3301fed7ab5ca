"""Allows environment variables in a configuration for paths alone, and keeps their values out of records."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from stonkgs.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: Keys whose value may come from an environment variable.
PATHS: Final = {
    *("source.path", "without.source.path", "kge.path", "model.path", "model.tokenizer", "model.vocabulary"),
    *("output_dir", "logger.save_dir"),
}


def config_for_record(cfg: "DictConfig") -> dict[str, Any]:
    """Returns the resolved configuration, with the names of environment variables in place of their values."""
    from omegaconf import OmegaConf

    with variables_by_name():
        plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return plain


@contextmanager
def variables_by_name() -> Iterator[None]:
    """Inside the `with` block `${oc.env:NAME}` resolves to this text itself, and not to the variable's value."""
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    def name(key: str, *default: Any) -> str:
        return f"${{oc.env:{','.join(map(str, [key, *default]))}}}"

    OmegaConf.register_new_resolver("oc.env", name, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def check_variables(cfg: "DictConfig") -> None:
    """Raises UserError where an environment variable gives anything but a path, because it would change results."""
    from omegaconf import OmegaConf

    values, names = dict(flatten(OmegaConf.to_container(cfg, resolve=True))), dict(flatten(config_for_record(cfg)))
    for key in [*values, *(key for key in names if key not in values)]:
        if values.get(key) != names.get(key) and key not in PATHS:
            raise UserError(f"{key}: an environment variable (oc.env) can give a path, and nothing else")


def flatten(config: Any, ignored: Collection[str] = (), prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each value of a nested configuration with its dotted key, without the keys that are `ignored`.

    A list is one value.
    """
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in ignored:
            continue
        if isinstance(value, dict):
            yield from flatten(value, ignored, f"{name}.")
        else:
            yield name, value
