"""Gives each process of a prediction one device, of those that `trainer.devices` asks for."""

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator

from stonkgs.config import build
from stonkgs.engine.share import Share
from stonkgs.errors import UserError

#: Keeps Lightning from reading torchrun's and SLURM's variables: to Lightning, every process is the only one.
IGNORE_LAUNCHER = {"_target_": "pytorch_lightning.plugins.environments.LightningEnvironment"}
#: Settings of a Trainer that is made only to ask Lightning for the devices.
_BARE = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def devices_of(config: DictConfig, share: Share) -> list[Any]:
    """Returns a value of `trainer.devices` for each process of this command, its own first; each gives one device.

    A process that torchrun or srun launched together with others stays one process, on the device of its number.
    Raises UserError where there are no such devices, or where `num_nodes` asks for further machines.
    """
    if config.get("num_nodes", 1) != 1 and not share.launched:
        raise UserError(
            f"trainer.num_nodes={config.num_nodes}: start a command on each machine, by torchrun or srun, or with "
            "splits=i/n and the same output_dir="
        )
    wanted = config.get("devices", 1)
    if wanted == 1:
        gpus = torch.cuda.device_count() if config.get("accelerator", "auto") in ("auto", "gpu", "cuda") else 0
        return [[share.local_index % gpus]] if gpus > 1 else [1]
    found = _devices_by_lightning(config, wanted)
    return [found[share.local_index % len(found)]] if share.launched else found


def single(config: DictConfig, devices: Any) -> DictConfig:
    """Returns the trainer's configuration for one process on one device. Raises UserError for another strategy."""
    given: Mapping[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    plugins = [*(given.get("plugins") or []), IGNORE_LAUNCHER]
    own = {"devices": devices, "num_nodes": 1, "strategy": _strategy(given.get("strategy")), "plugins": plugins}
    return OmegaConf.create({**given, **own})


def _devices_by_lightning(config: DictConfig, wanted: Any) -> list[Any]:
    """Asks Lightning what a count, a list, -1 or "auto" means: numbers of GPUs, or a number of CPU processes."""
    trainer = {"_target_": "pytorch_lightning.Trainer", "accelerator": config.get("accelerator", "auto")}
    try:
        probe = build(OmegaConf.create({**trainer, "devices": wanted, "plugins": [IGNORE_LAUNCHER], **_BARE}))
    except UserError as error:
        raise UserError(f"trainer.devices={wanted}: {str(error).partition(': ')[2]}") from error
    if isinstance(probe.accelerator, CPUAccelerator):  # not root_device, which LOCAL_RANK may put beyond the last one
        return [1] * probe.num_devices
    return [[number] for number in probe.device_ids]


def _strategy(given: Any) -> Any:
    """Returns the strategy of a single process. DDP becomes "auto": the processes share work through the folder."""
    name = str(given["_target_"] if isinstance(given, Mapping) else given or "auto").rpartition(".")[2]
    if name == "auto" or name.startswith(("ddp", "DDP")):
        return "auto"
    if name.startswith("SingleDevice"):
        return given
    raise UserError(
        f"trainer.strategy={name}: a prediction runs a process a device, each with the whole model; leave it at auto"
    )
