"""A checkpoint is there whole or not at all."""

from pathlib import Path

import pytest
import torch
from conftest import file_size_limit

from stonkgs.errors import UserError
from stonkgs.train.checkpoints import LAST, Published, read


def test_a_full_disk_costs_none_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / LAST
    Published().save_checkpoint({"weights": torch.zeros(9)}, path)
    with file_size_limit(2_000), pytest.raises(UserError, match=r"last\.ckpt: cannot be written: File too large"):
        Published().save_checkpoint({"weights": torch.ones(900)}, path)
    assert torch.equal(read(path)["weights"], torch.zeros(9))
    assert [file.name for file in path.parent.iterdir()] == [LAST]
