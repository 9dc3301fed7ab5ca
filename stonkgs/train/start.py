"""What a training starts from, what it has at hand, and what it comes to: the contracts of all that learns."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig

from stonkgs.engine.placement import Placement
from stonkgs.kge.store import KgeStore
from stonkgs.model.rater import Rater
from stonkgs.train.census import Census
from stonkgs.train.folder import TrainFolder
from stonkgs.train.protocol import TRAIN
from stonkgs.train.selection import Labelled, Selection


@dataclass(frozen=True, eq=False)
class Training:
    """What a training has at hand once its rows are counted."""

    cfg: DictConfig
    #: where it runs
    placed: Placement
    kge: KgeStore
    selection: Selection
    census: Census
    folder: TrainFolder

    def rows(self) -> Iterator[Labelled]:
        """The rows of the training part, in the input's order."""
        for split in self.selection.reader.plan:
            yield from self.selection.rows(split, TRAIN)


@dataclass
class Learned:
    """What a training has come to. This one can neither be calibrated nor be written as a model folder."""

    rater: Rater
    #: what was measured on the way
    history: list[dict[str, float]] = field(default_factory=list)
    #: whether a temperature may be found for it
    calibrates: ClassVar[bool] = False

    def uncalibrate(self) -> float:
        """Set the rater's temperature to 1, and return what it was: parts are rated first and calibrated then."""
        return 1.0

    def save(self, folder: Path, *, kge: KgeStore, temperature: float) -> None:
        """Write a model folder that `predict` takes, calibrated by `temperature`; nothing where there can be none."""
        return


class Start(ABC):
    """What a training starts from: what `model=` builds, as the training sees it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that it tells apart before any training, for mode=test; none where it has to learn first."""
        return ()

    @property
    def multi_label(self) -> bool:
        """Whether these are not exclusive."""
        return False

    @abstractmethod
    def base(self, config: Mapping[str, Any]) -> str:
        """What run.json and the model card call it; `config` is what it was built from."""

    def check(self, kge: KgeStore, *, any_kge: bool, processes: int) -> None:
        """UserError where it cannot learn with this store, or in so many processes."""
        return

    def decides(self) -> dict[str, Any]:
        """What of it decides the result beside its configuration, by the names that people give it."""
        return {}

    @abstractmethod
    def learn(self, training: Training) -> Learned:
        """Learn the task; with mode=test, be what is there."""
