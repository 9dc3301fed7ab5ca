"""Makes the DataLoaders of a training: one for the rest of the current lap, one for the validation part.

A lap is the stretch of an epoch between two validations.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset

from stonkgs.batch import Batches
from stonkgs.engine.lightning import OwnBatches, loader
from stonkgs.protocol import VALIDATION
from stonkgs.source.base import World
from stonkgs.train.census import Census
from stonkgs.train.module import FineTuning
from stonkgs.train.pairs import PairEncoder, PairStream, further
from stonkgs.train.selection import PartReader, Selection
from stonkgs.train.stepwise import Stepwise
from stonkgs.train.stream import Steps, Stream


class TrainingData(OwnBatches, ABC):
    """The data of a training. A subclass says what its steps and its validation are."""

    def __init__(
        self,
        module: Stepwise,
        selection: Selection,
        census: Census,
        *,
        buffer: int,
        num_workers: int,
        start_method: str | None,
    ) -> None:
        super().__init__()
        self.module = module
        self.selection = selection
        self.census = census
        self.buffer = buffer
        self.num_workers = num_workers
        self.start_method = start_method

    @property
    def validated(self) -> bool:
        """Whether there is a validation part."""
        return bool(self.census.rows.get(VALIDATION))

    @abstractmethod
    def steps(self, **where: int) -> Steps[Any]:
        """Returns the steps [`start`, `stop`) of `epoch` for process `rank`."""

    @abstractmethod
    def validation(self, world: World) -> IterableDataset[Any]:
        """Returns a process' share of the validation part. Shares may differ in size."""

    def train_dataloader(self) -> DataLoader[Any]:
        """Make the loader of one lap. By now Lightning has connected the processes and read a checkpoint."""
        assert self.trainer is not None
        epoch, start, stop = self.module.schedule.lap(self.module.done)
        return self._loader(self.steps(epoch=epoch, start=start, stop=stop, rank=self.trainer.global_rank))

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Make the loader of a validation."""
        assert self.trainer is not None
        if not self.validated:
            return []
        return self._loader(self.validation(World(self.trainer.global_rank, self.trainer.world_size)))

    def _loader(self, dataset: IterableDataset[Any]) -> DataLoader[Any]:
        return loader(dataset, self.num_workers, self.start_method)


class LabelledData(TrainingData):
    """The data of a fine-tuning. `window` rows of the validation part are sorted by length together."""

    def __init__(self, module: FineTuning, *settings: Any, window: int, **options: Any) -> None:
        super().__init__(module, *settings, **options)
        self.weights = module.class_weights
        self.window = window

    def steps(self, **where: int) -> Stream:
        return Stream(
            selection=self.selection,
            encoder=self.module.predictor.encoder(),
            schedule=self.module.schedule,
            weights=self.weights,
            buffer=self.buffer,
            **where,
        )

    def validation(self, world: World) -> Batches:
        part = PartReader.of(self.selection, VALIDATION, self.census.rows[VALIDATION])
        encoder, size = self.module.predictor.encoder(), self.module.schedule.size
        return Batches(source=part.at(world), encoder=encoder, size=size, window=self.window)


class PairData(TrainingData):
    """The data of a pre-training. A validation has the same rows, pairs and masks in every epoch."""

    def __init__(self, *settings: Any, encode: PairEncoder, **options: Any) -> None:
        super().__init__(*settings, **options)
        self.encode = encode

    def steps(self, **where: int) -> PairStream:
        return PairStream(
            selection=self.selection,
            schedule=self.module.schedule,
            buffer=self.buffer,
            encode=self.encode,
            **where,
        )

    def validation(self, world: World) -> PairStream:
        rows = self.census.rows[VALIDATION]
        schedule = replace(self.module.schedule, counts=np.array([rows + further(rows)]), epochs=1, laps=1)
        stream: Callable[..., PairStream] = PairStream
        return stream(
            selection=self.selection,
            schedule=schedule,
            buffer=1,
            encode=self.encode,
            part=VALIDATION,
            epoch=0,
            start=0,
            stop=schedule.steps,
            rank=world.rank,
        )
