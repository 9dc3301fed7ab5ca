"""From a config's `_target_` to an object: the one place where a config names code."""

import inspect
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from stonkgs.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


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


def build(config: "DictConfig", *, trust: tuple[str, ...] = ()) -> Any:
    """The object that a config describes. `trust` names further targets that the user admits on purpose.

    Raises UserError where a target, at any depth, does not exist or is none of what may be built.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    for target in _targets(OmegaConf.to_container(config, resolve=True)):
        if target not in trust:
            _check(target)
    try:
        return instantiate(config, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(f"{config._target_}: {cause}") from error


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


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
        raise UserError(
            f"_target_ {target}: a config may build sources, models, writers and Lightning's parts; "
            f"if you trust this one, say so with trust=[{target}]"
        )
