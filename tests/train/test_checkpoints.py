"""A checkpoint is there whole or not at all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import file_size_limit
from torch import nn

from stonkgs.errors import UserError
from stonkgs.train.checkpoints import BEST, LAST, STATE, WholeCheckpoints, read, read_weights


@pytest.mark.parametrize(("limit", "size"), [(2_000, 900), (30_000, 90_000)])
def test_a_full_disk_costs_none_that_was_there(tmp_path: Path, limit: int, size: int) -> None:
    path = tmp_path / "checkpoints" / LAST
    WholeCheckpoints().save_checkpoint({"weights": torch.zeros(9)}, path)
    with file_size_limit(limit), pytest.raises(UserError, match=r"last\.ckpt: cannot be written: File too large"):
        WholeCheckpoints().save_checkpoint({"weights": torch.ones(size)}, path)
    assert torch.equal(read(path)["weights"], torch.zeros(9))
    assert [file.name for file in path.parent.iterdir()] == [LAST]


def network() -> nn.ModuleDict:
    return nn.ModuleDict({"frozen": nn.Linear(2, 2), "head": nn.Linear(2, 3)})


def state(**changes: Any) -> dict[str, Any]:
    """Of a training of that network, whose frozen part is left out."""
    weights = {name: weight for name, weight in network().state_dict().items() if name.startswith("head")}
    return {**dict.fromkeys(STATE, 0), "state_dict": weights} | changes


@pytest.mark.parametrize("name", [LAST, BEST])
def test_a_checkpoint_of_this_model_is_read(tmp_path: Path, name: str) -> None:
    torch.save(state(), tmp_path / name)
    assert read_weights(tmp_path / name, network(), frozen="frozen").keys() == set(STATE)
    torch.save({"state_dict": network().state_dict()}, tmp_path / BEST)
    assert len(read_weights(tmp_path / BEST, network(), frozen="frozen")["state_dict"]) == 4


HEAD = {"head.weight": torch.ones(3, 2), "head.bias": torch.ones(3)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], "lacks 'state_dict', is it another program's"),
        ({}, "lacks 'state_dict', is it another program's"),
        ({"state_dict": HEAD}, "lacks 'optimizer_states', is it another program's"),
        *(({k: v for k, v in state().items() if k != key}, f"lacks '{key}'") for key in STATE),
        (state(state_dict=5), r"belongs to another model, by head\.bias"),
        (state(state_dict={}), r"belongs to another model, by head\.bias"),
        (state(state_dict={f"module.{name}": weight for name, weight in HEAD.items()}), r"by head\.bias"),
        (state(state_dict=HEAD | {"more": torch.ones(1)}), "belongs to another model, by more"),
        (state(state_dict=HEAD | {"head.bias": torch.ones(2)}), r"belongs to another model, by head\.bias"),
        (state(state_dict=HEAD | {"head.bias": "x"}), r"belongs to another model, by head\.bias"),
        (state(state_dict=HEAD | {7: torch.ones(1)}), "belongs to another model, by 7"),
        (state(state_dict=HEAD | {"\x1b[2J": torch.ones(1)}), r"belongs to another model, by \?\[2J"),
    ],
)
def test_a_checkpoint_with_other_keys(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, tmp_path / LAST)
    with pytest.raises(UserError, match=rf"/last\.ckpt: .*{said}.* start the training anew: overwrite=true$"):
        read_weights(tmp_path / LAST, network(), frozen="frozen")
