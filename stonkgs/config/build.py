"""Builds the objects that a config names by `_target_`. Only here does a config choose code."""

import inspect
from collections.abc import Collection, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from stonkgs.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: Keys with a meaning to hydra; all others are arguments.
_SPECIAL: Final = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})


class Stage:
    """Marks the classes that a config may build, by the constructor or by a class method such as from_pretrained."""


@cache
def _buildable() -> tuple[type, ...]:
    """Returns the base classes of what a config may build: our stages, and parts of Lightning and torch.optim.

    A prefix such as "torch." would also allow torch.hub.load, which runs code from the network.
    """
    import pytorch_lightning as pl
    import torch
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from pytorch_lightning.loggers import Logger
    from pytorch_lightning.strategies import Strategy

    schedulers = torch.optim.lr_scheduler.LRScheduler
    parts = (pl.Trainer, pl.Callback, Logger, Strategy, ClusterEnvironment)
    return (Stage, *parts, torch.optim.Optimizer, schedulers)


def build(config: "DictConfig", *, trust: Collection[str] = ()) -> Any:
    """Returns the object that a config describes. `trust` names further targets that the user allows.

    Raises UserError where a target, at any depth, does not exist or may not be built.
    """
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for target in targets(plain):
        if target not in trust:
            _check(target)
    return _build_node(plain)


def _build_node(node: Any) -> Any:
    """Returns the config with an object in place of each dictionary that has a `_target_`.

    The config was resolved before its targets were checked, so nothing changes between the check and the call.
    """
    if isinstance(node, list):
        return [_build_node(value) for value in node]
    if not isinstance(node, dict):
        return node
    values = {key: _build_node(value) for key, value in node.items() if key not in _SPECIAL}
    return _call(node, values) if "_target_" in node else values


def _call(node: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    from hydra.utils import get_object

    target = str(node["_target_"])
    function = get_object(target)
    _check_special(target, function, node)
    if node.get("_partial_"):
        return partial(function, **values)
    try:
        return function(**values)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{target}: {error}") from error


def _check_special(target: str, function: Any, node: Mapping[str, Any]) -> None:
    """Raises UserError for those of hydra's other keys that would change what is built, or how."""
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    for key in _SPECIAL & node.keys() - {"_target_"}:
        optimizer = isinstance(function, type) and issubclass(function, Optimizer | LRScheduler)
        if not (key == "_partial_" and (optimizer or node[key] is False)) and (key, node[key]) != ("_convert_", "all"):
            raise UserError(f"{key}={node[key]}: not for {target}; leave it out")


def targets(node: Any) -> Iterator[str]:
    """Yields each `_target_` of a configuration, at any depth."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def _check(target: str) -> None:
    """Raises UserError where a target is neither a class that may be built nor one of its class methods."""
    from hydra.utils import get_object

    try:
        found = get_object(target)
    except Exception as error:
        raise UserError(f"_target_ {target}: not found: {error}") from error
    # Methods written in Python, such as from_pretrained, and not those that are built into every class.
    owner = found.__self__ if inspect.ismethod(found) else found
    if not (isinstance(owner, type) and issubclass(owner, _buildable())):
        raise untrusted(target)


def untrusted(target: str) -> UserError:
    """Returns the error for a target that may not be built."""
    return UserError(
        f"_target_ {target}: a config may build sources, models, writers and Lightning's parts; "
        f"if you trust this one, say so with trust=[{target}]"
    )
