"""Who has started a training's process, and what that says of its devices."""

import pytest
from omegaconf import OmegaConf

from stonkgs.train.launch import launch

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def test_who_has_started_it() -> None:
    assert launch({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}).child
    assert not launch({"LOCAL_RANK": "0", "WORLD_SIZE": "2"}).child
    assert not launch(TORCHRUN).child
    assert launch(TORCHRUN).local == 2


def test_torchrun_says_how_many() -> None:
    assert launch(TORCHRUN).trainer_config(OmegaConf.create({"devices": 1})) == {"devices": 2, "num_nodes": 4}
    assert launch(TORCHRUN).trainer_config(OmegaConf.create({"devices": 3})) == {"devices": 3}


@pytest.mark.parametrize(("tasks", "plugins"), [("1", 1), ("4", 0)])
def test_in_a_slurm_job_of_one_task_lightning_starts_the_others(
    tasks: str, plugins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", tasks)
    config = launch().trainer_config(OmegaConf.create({"devices": 4}))
    assert len(config.get("plugins") or []) == plugins
