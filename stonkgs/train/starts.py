"""The kinds of `Start`: a network from a model folder, one with random weights, and TF-IDF."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import singledispatch
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from stonkgs.division import Division, extended
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model.digest import model_digest
from stonkgs.model.fresh import Fresh
from stonkgs.model.network import Network
from stonkgs.model.predictor import Predictor
from stonkgs.runs.identity import MODEL
from stonkgs.source.fingerprint import Fingerprint
from stonkgs.train.learn import fine_tune
from stonkgs.train.start import Learned, Start, Training
from stonkgs.train.tfidf import TfIdf


@singledispatch
def start_of(model: object) -> Start:
    """Wrap what `model=` has built. Raises UserError if no training can start from it."""
    if isinstance(model, Start):  # a user's own class
        return model
    raise UserError(f"model._target_: a training cannot start from a {type(model).__name__}")


class LearnedNetwork(Learned):
    """A network that was fine-tuned, or with mode=test the one that was given."""

    rater: Predictor
    calibrates: ClassVar[bool] = True

    def uncalibrate(self) -> float:
        network = self.rater.model
        before, network.config = network.config.temperature, replace(network.config, temperature=1.0)
        return before

    def save(self, folder: Path, *, kge: KgeStore, temperature: float) -> None:
        network = self.rater.model
        network.config = replace(network.config, temperature=temperature)
        network.save_pretrained(folder, kge=kge)


class NetworkStart(Start):
    """A network, to be trained by gradient descent."""

    in_steps: ClassVar[bool] = True
    #: whether the text backbone is frozen by default
    frozen: bool = False

    @property
    @abstractmethod
    def kind(self) -> type[Network]:
        """The architecture of the network."""

    @abstractmethod
    def network(self, training: Training) -> Network:
        """Returns the network. Its classifier is replaced if it is to be trained."""

    def learn(self, training: Training) -> Learned:
        cfg, classes = training.cfg, training.census.classes
        torch.manual_seed(cfg.seed)
        network = self.network(training)
        if cfg.mode == "train":
            network = network.with_classes(classes.labels, multi_label=classes.multi_label)
            divisions = extended(network.config.divisions, training.division)
            network.config = replace(network.config, divisions=divisions)
        predictor = Predictor(network, training.kge, any_kge=cfg.any_kge)
        history = fine_tune(training, predictor, frozen=self.frozen) if cfg.mode == "train" else []
        return LearnedNetwork(predictor, history)


class Pretrained(NetworkStart):
    """A network from a model folder, or a published one."""

    def __init__(self, given: Network) -> None:
        self.given = given
        self.frozen = given.freezes_backbone

    @property
    def labels(self) -> tuple[str, ...]:
        return self.given.config.labels

    @property
    def multi_label(self) -> bool:
        return self.given.config.multi_label

    @property
    def columns(self) -> Mapping[str, str]:
        return self.given.columns

    @property
    def divisions(self) -> Sequence[Division]:
        return self.given.config.divisions

    @property
    def reads_graph(self) -> bool:
        return self.given.reads_graph

    @property
    def kind(self) -> type[Network]:
        return type(self.given)

    def base(self, config: Mapping[str, Any]) -> str:
        return str(config.get("path") or config.get("name") or config["_target_"])

    def check(self, kge: KgeStore, *, any_kge: bool, processes: int) -> None:
        Predictor(self.given, kge, any_kge=any_kge)  # refuses another model's store

    def identity(self) -> dict[str, Any]:
        return {MODEL: model_digest(self.given)}

    def network(self, training: Training) -> Network:
        return self.given


class FromScratch(NetworkStart):
    """A network with random weights, whose vocabulary is given or learned from the training part."""

    def __init__(self, fresh: Fresh) -> None:
        self.fresh = fresh
        self.frozen = fresh.backbone is not None

    @property
    def kind(self) -> type[Network]:
        return Network.known[self.fresh.architecture]

    @property
    def reads_graph(self) -> bool:
        return Network.known[self.fresh.architecture].reads_graph

    @property
    def columns(self) -> Mapping[str, str]:
        return self.fresh.columns

    def base(self, config: Mapping[str, Any]) -> str:
        backbone = self.fresh.backbone
        return f"random weights over the text backbone {backbone}" if backbone else "random weights (Fresh)"

    def check(self, kge: KgeStore, *, any_kge: bool, processes: int) -> None:
        self.fresh.check(kge)

    def identity(self) -> dict[str, Any]:
        vocabulary, files = self.fresh.vocabulary, self.fresh.backbone_files()
        found = {f"the text backbone's {file.name}": Fingerprint.of(str(file)).ends for file in files}
        return found | ({"the vocabulary": Fingerprint.of(vocabulary).ends} if vocabulary else {})

    def network(self, training: Training) -> Network:
        def texts() -> Iterator[str]:
            return (row.statement.evidence for row in training.rows())

        return self.fresh.make(training.kge, texts, training.folder.path)


class TfIdfStart(Start):
    """The baseline without a network. It holds the training part in memory."""

    def __init__(self, given: TfIdf) -> None:
        self.given = given

    def base(self, config: Mapping[str, Any]) -> str:
        return "counted words (TfIdf)"

    def check(self, kge: KgeStore, *, any_kge: bool, processes: int) -> None:
        if processes > 1:
            raise UserError("model=tfidf learns in one process: trainer.devices=1")

    def learn(self, training: Training) -> Learned:
        cfg, classes, rows = training.cfg, training.census.classes, list(training.rows())
        targets: Any = [row.target for row in rows]
        if classes.multi_label:
            every = range(len(classes.labels))
            targets = np.array([[number in target for number in every] for target in targets])
        self.given.columns = training.selection.reader.source.columns
        options = {"class_weights": cfg.class_weights, "seed": cfg.seed}
        self.given.fit((row.statement for row in rows), targets, classes.labels, **options)
        return Learned(self.given)


start_of.register(Network, Pretrained)
start_of.register(Fresh, FromScratch)
start_of.register(TfIdf, TfIdfStart)
