"""A checkpoint is there whole or not at all."""

from pathlib import Path

import pytest
import torch
from conftest import file_size_limit

from stonkgs.errors import UserError
from stonkgs.train.checkpoints import LAST, WholeCheckpoints, read


@pytest.mark.parametrize(("limit", "size"), [(2_000, 900), (30_000, 90_000)])
def test_a_full_disk_costs_none_that_was_there(tmp_path: Path, limit: int, size: int) -> None:
    path = tmp_path / "checkpoints" / LAST
    WholeCheckpoints().save_checkpoint({"weights": torch.zeros(9)}, path)
    with file_size_limit(limit), pytest.raises(UserError, match=r"last\.ckpt: cannot be written: File too large"):
        WholeCheckpoints().save_checkpoint({"weights": torch.ones(size)}, path)
    assert torch.equal(read(path)["weights"], torch.zeros(9))
    assert [file.name for file in path.parent.iterdir()] == [LAST]
