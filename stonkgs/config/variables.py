"""Environment variables in a configuration: they give paths, and records name them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from stonkgs.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: Keys whose value may come from an environment variable; records name the variable.
PATHS: Final = {
    *("source.path", "kge.path", "model.path", "model.tokenizer", "model.vocabulary"),
    *("output_dir", "logger.save_dir"),
}


def named(cfg: "DictConfig") -> dict[str, Any]:
    """The configuration as records keep it: resolved, but an environment variable by its name, not by its value."""
    from omegaconf import OmegaConf

    with variables_named():
        plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return plain


@contextmanager
def variables_named() -> Iterator[None]:
    """Within it, `${oc.env:NAME}` in a configuration gives this text, and not the variable's value."""
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
    """UserError where an environment variable is used for anything but a path: its value would reach the results."""
    from omegaconf import OmegaConf

    given, told = dict(_flat(OmegaConf.to_container(cfg, resolve=True))), dict(_flat(named(cfg)))
    for key in [*given, *(key for key in told if key not in given)]:
        if given.get(key) != told.get(key) and key not in PATHS:
            raise UserError(f"{key}: an environment variable (oc.env) can give a path, and nothing else")


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value by its dotted key; a list is one value."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
