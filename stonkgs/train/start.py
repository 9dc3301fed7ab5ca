"""The contracts of everything that can be trained: what it starts from, what it may use, and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig

from stonkgs.division import Division
from stonkgs.engine.placement import Placement
from stonkgs.kge.store import KgeStore
from stonkgs.model.rater import Rater
from stonkgs.protocol import TRAIN
from stonkgs.train.census import Census
from stonkgs.train.folder import TrainFolder
from stonkgs.train.selection import LabelledRow, Selection


@dataclass(frozen=True, eq=False)
class Training:
    """What a training may use once its rows are counted."""

    cfg: DictConfig
    #: the trainer and its devices
    placed: Placement
    kge: KgeStore
    selection: Selection
    census: Census
    folder: TrainFolder
    #: how the rows are divided, for the model folder
    division: Division

    def rows(self) -> Iterator[LabelledRow]:
        """Yields the rows of the training part in the input's order."""
        for split in self.selection.reader.plan:
            yield from self.selection.rows(split, TRAIN)


@dataclass
class Learned:
    """The result of a training. This one can be neither calibrated nor saved as a model folder; subclasses can."""

    rater: Rater
    #: the measurements made during training, the rows of history.csv
    history: list[dict[str, float]] = field(default_factory=list)
    #: whether a temperature may be fitted
    calibrates: ClassVar[bool] = False

    def uncalibrate(self) -> float:
        """Set the rater's temperature to 1, so that parts are rated before calibration. Returns the earlier one."""
        return 1.0

    def save(self, folder: Path, *, kge: KgeStore, temperature: float) -> None:
        """Write a model folder for `predict`, calibrated with `temperature`, where this kind of model has one."""
        return


class Start(ABC):
    """What a training starts from: it wraps what `model=` builds."""

    #: whether it reads rows step by step, as often as `sampling=` says and in the order that `batch.buffer=` gives
    in_steps: ClassVar[bool] = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that it knows before any training, as mode=test needs; empty if it has to learn first."""
        return ()

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several of these classes."""
        return False

    @property
    def columns(self) -> Mapping[str, str]:
        """The input's columns that it reads beside source, target and evidence, and the key that names each."""
        return {}

    @property
    def divisions(self) -> Sequence[Division]:
        """How its earlier trainings have divided their rows, as far as it is known."""
        return ()

    @property
    def reads_graph(self) -> bool:
        """Whether it reads the store's vectors, which may have been learned from rows that are tested."""
        return False

    @abstractmethod
    def base(self, config: Mapping[str, Any]) -> str:
        """Returns its name in run.json and the model card. `config` is the configuration that it was built from."""

    def check(self, kge: KgeStore, *, any_kge: bool, processes: int) -> None:
        """Raises UserError if it cannot learn with this store, or in this number of processes."""
        return

    def identity(self) -> dict[str, Any]:
        """Returns what changes the result beside its configuration, such as a digest of weights, by names for users."""
        return {}

    @abstractmethod
    def learn(self, training: Training) -> Learned:
        """Learn the task, and return the result; with mode=test, return the model as it is."""
