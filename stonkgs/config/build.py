"""From a config's `_target_` to an object: the one place where a config names code."""

import inspect
from collections.abc import Collection, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from stonkgs.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: What hydra reads beside `_target_` where it builds something.
_SPECIAL: Final = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})


class Stage:
    """Marks what a config may build: a subclass, by its constructor or by a class method such as from_pretrained."""


@cache
def _admitted() -> tuple[type, ...]:
    """Our stages, and what Lightning and torch.optim are made of.

    A prefix such as "torch." would admit torch.hub.load, which runs code from the network.
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
    """The object that a config describes. `trust` names further targets that the user admits on purpose.

    Raises UserError where a target, at any depth, does not exist or is none of what may be built.
    """
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for target in targets(plain):
        if target not in trust:
            _check(target)
    return _made(plain)


def _made(node: Any) -> Any:
    """A config's lists and dictionaries, with an object for each that has a `_target_`. What it is called with was
    resolved once, before the targets were checked: nothing is looked up between the check and the call.
    """
    if isinstance(node, list):
        return [_made(value) for value in node]
    if not isinstance(node, dict):
        return node
    values = {key: _made(value) for key, value in node.items() if key not in _SPECIAL}
    return _called(node, values) if "_target_" in node else values


def _called(node: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
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
    """Of hydra's further keys, UserError for those that would change what is built, and how."""
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    for key in _SPECIAL & node.keys() - {"_target_"}:
        kind = isinstance(function, type) and issubclass(function, Optimizer | LRScheduler)
        if not (key == "_partial_" and (kind or node[key] is False)) and (key, node[key]) != ("_convert_", "all"):
            raise UserError(f"{key}={node[key]}: not for {target}; leave it out")


def targets(node: Any) -> Iterator[str]:
    """What a configuration would build, at any depth."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def _check(target: str) -> None:
    """Admit a class that may be built, or an alternative constructor of one."""
    from hydra.utils import get_object

    try:
        found = get_object(target)
    except Exception as error:
        raise UserError(f"_target_ {target}: not found: {error}") from error
    # A class method written in Python, such as from_pretrained; not what every class has built in.
    owner = found.__self__ if inspect.ismethod(found) else found
    if not (isinstance(owner, type) and issubclass(owner, _admitted())):
        raise refused(target)


def refused(target: str) -> UserError:
    """What is said of a target that may not be built."""
    return UserError(
        f"_target_ {target}: a config may build sources, models, writers and Lightning's parts; "
        f"if you trust this one, say so with trust=[{target}]"
    )
