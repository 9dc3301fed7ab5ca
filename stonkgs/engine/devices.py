"""Which device each process of a prediction has: `trainer.devices` says how many, and each process runs on one."""

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from stonkgs.config import build
from stonkgs.engine.share import Share
from stonkgs.errors import UserError

#: Keeps Lightning from asking torchrun's and SLURM's variables who it is: every process stands by itself.
_ALONE = {"_target_": "pytorch_lightning.plugins.environments.LightningEnvironment"}
#: What Lightning's Trainer need not make to tell us which devices there are.
_BARE = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def devices_of(config: DictConfig, share: Share) -> list[Any]:
    """For each process that this command becomes, its own first: the value of `devices` that gives it one device.

    A process that was launched together with others stays one process, and takes the device of its number. Raises
    UserError where there are no such devices, or where `num_nodes` asks for more machines than this one.
    """
    if config.get("num_nodes", 1) != 1 and not share.launched:
        raise UserError(
            f"trainer.num_nodes={config.num_nodes}: start a command on each machine, by torchrun or srun, or with "
            "splits=i/n and the same output_dir="
        )
    asked = config.get("devices", 1)
    if asked == 1:
        gpus = torch.cuda.device_count() if config.get("accelerator", "auto") in ("auto", "gpu", "cuda") else 0
        return [[share.local_index % gpus]] if gpus > 1 else [1]
    found = _found(config, asked)
    return [found[share.local_index % len(found)]] if share.launched else found


def single(config: DictConfig, devices: Any) -> DictConfig:
    """The trainer's configuration for a single process on a single device; UserError where that cannot be."""
    given: Mapping[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    plugins = [*(given.get("plugins") or []), _ALONE]
    own = {"devices": devices, "num_nodes": 1, "strategy": _strategy(given.get("strategy")), "plugins": plugins}
    return OmegaConf.create({**given, **own})


def _found(config: DictConfig, asked: Any) -> list[Any]:
    """What Lightning makes of a count, a list, -1 or auto: numbers of GPUs, or so many times a process on the CPU."""
    trainer = {"_target_": "pytorch_lightning.Trainer", "accelerator": config.get("accelerator", "auto")}
    try:
        probe = build(OmegaConf.create({**trainer, "devices": asked, "plugins": [_ALONE], **_BARE}))
    except UserError as error:
        raise UserError(f"trainer.devices={asked}: {str(error).partition(': ')[2]}") from error
    if probe.strategy.root_device.type == "cpu":
        return [1] * probe.num_devices
    return [[number] for number in probe.device_ids]


def _strategy(given: Any) -> Any:
    """How the single process runs. What DDP would do among several is done by the folder."""
    name = str(given["_target_"] if isinstance(given, Mapping) else given or "auto").rpartition(".")[2]
    if name == "auto" or name.startswith(("ddp", "DDP")):
        return "auto"
    if name.startswith("SingleDevice"):
        return given
    raise UserError(
        f"trainer.strategy={name}: a prediction runs a process a device, each with the whole model; leave it at auto"
    )
