"""From a config's `_target_` to an object: the one place where a config names code."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import Strategy

from stonkgs.encode.kge import KgeStore
from stonkgs.errors import UserError
from stonkgs.model.fresh import Fresh
from stonkgs.model.network import Network
from stonkgs.protocol import Protocol
from stonkgs.source.base import Source
from stonkgs.task import Task
from stonkgs.train.tfidf import TfIdf

#: What a config may build: our stages, and what Lightning and torch.optim are made of. A prefix such as "torch."
#: would admit torch.hub.load, which runs code from the network.
BASES: tuple[type, ...] = (
    Source,
    KgeStore,
    Network,
    Fresh,
    TfIdf,
    Task,
    Protocol,
    pl.Trainer,
    pl.Callback,
    Logger,
    Strategy,
    torch.optim.Optimizer,
    torch.optim.lr_scheduler.LRScheduler,
    ClusterEnvironment,
)


def build(config: DictConfig, *, trust: tuple[str, ...] = ()) -> Any:
    """The object that a config describes. `trust` names further targets that the user admits on purpose.

    Raises UserError where a target, at any depth, does not exist or is none of BASES.
    """
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
    """Admit a class of BASES, or an alternative constructor of one."""
    try:
        found = get_object(target)
    except Exception as error:
        raise UserError(f"_target_ {target}: not found: {error}") from error
    # A class method written in Python, such as from_pretrained; not what every class has built in.
    owner = found.__self__ if inspect.ismethod(found) else found
    if not (isinstance(owner, type) and issubclass(owner, BASES)):
        raise UserError(
            f"_target_ {target}: a config may build sources, models, writers and Lightning's parts; "
            f"if you trust this one, say so with trust=[{target}]"
        )
