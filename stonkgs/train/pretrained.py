"""Pre-trains what a training starts from, and keeps the result with its heads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from stonkgs.division import extended
from stonkgs.encode.encoder import Encoder
from stonkgs.encode.walks import Walks
from stonkgs.errors import UserError
from stonkgs.evaluate.plots import learning_curves
from stonkgs.graph.leave_out import LeaveOut
from stonkgs.kge.store import KgeStore
from stonkgs.model.checkpoint import HEADS
from stonkgs.model.network import STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.model.pretraining import PretrainingHeads, heads_of
from stonkgs.model.weights import files_of
from stonkgs.source.fingerprint import Fingerprint
from stonkgs.train.learn import pretrain
from stonkgs.train.masks import PublishedMasks, SparingMasks
from stonkgs.train.pairs import PairEncoder
from stonkgs.train.start import Learned, Start, Training
from stonkgs.train.starts import NetworkStart, Pretrained
from stonkgs.train.unlabelled import Pretraining

#: The panel of accuracies in the learning curves: keys of a row of history.csv, and their names.
CURVES = {"text_accuracy": "masked words", "entity_accuracy": "masked nodes", "pair_accuracy": "pairs"}


class PretrainedNetwork(Learned):
    """A network that was pre-trained, and its heads."""

    rater: Predictor

    def __init__(
        self, rater: Predictor, history: list[dict[str, float]], heads: PretrainingHeads, remarks: Sequence[str]
    ) -> None:
        super().__init__(rater, history)
        self.heads = heads
        #: what to know about the model beside its figures
        self.remarks = remarks

    def save(self, folder: Path, *, kge: KgeStore, temperature: float) -> None:
        self.rater.model.save_pretrained(folder, kge=kge, heads=self.heads.weights())


def check_pretraining(cfg: DictConfig, start: Start) -> None:
    """Raises UserError if a pre-training cannot have these settings."""
    refused = {
        "mode": ("train", "a pre-training has no test part; fine-tune its model, and test that"),
        "monitor": ("loss", "of a pre-training only the loss is measured: monitor=loss"),
        "sampling": ("natural", "statements without labels cannot be balanced"),
        "class_weights": (None, "statements without labels cannot be balanced"),
    }
    for key, (value, why) in refused.items():
        if cfg[key] != value:
            raise UserError(f"{key}={cfg[key]}: {why}")
    walks = isinstance(start, NetworkStart) and issubclass(start.kind, STonKGs) and start.kind.graph_half == "walks"
    if not walks:
        raise UserError(
            "task=pretraining: only models that read text and walks are pre-trained: model=fresh or stonkgs"
        )


def pretraining_identity(start: Start, without: LeaveOut) -> Iterator[tuple[str, Any]]:
    """Yields what decides the result of a pre-training beside what decides that of any training."""
    if without.source:
        yield "the rows that will be tested", [watch.fingerprint.ends for watch in without.source.watch()]
    folder = start.given.folder if isinstance(start, Pretrained) else None
    if folder:  # a published checkpoint has the heads among its other weights
        files = [folder / HEADS] if (folder / HEADS).is_file() else files_of(folder)
        yield "the model's heads", [Fingerprint.of(str(file)).ends for file in files]


def learn_masked(start: Start, training: Training) -> PretrainedNetwork:
    """Pre-train the network of a start, or continue. Raises UserError."""
    cfg, kge, task = training.cfg, training.kge, training.selection.task
    assert isinstance(start, NetworkStart)
    assert isinstance(task, Pretraining)
    torch.manual_seed(cfg.seed)
    network = start.network(training).without_classes()
    assert isinstance(network, STonKGs)
    config = network.config
    published = config.legacy_node_shift if task.objective is None else task.objective == "published"
    if published:
        config = replace(config, legacy_text_padding=True, legacy_node_shift=True)
    network.config = replace(config, divisions=extended(config.divisions, training.division))
    predictor = Predictor(network, kge, any_kge=cfg.any_kge)
    heads = heads_of(network, kge, biased=not published)
    encode = PairEncoder(
        Encoder({"text": network.inputs(kge)["text"], "walks": Walks(network.nodes(kge))}),
        (PublishedMasks if published else SparingMasks)(network.text, kge.nodes),
        network.config.legacy_node_shift,
        cfg.seed,
    )
    history = pretrain(training, predictor, heads, frozen=start.frozen, encode=encode)
    return PretrainedNetwork(predictor, history, heads, list(_remarks(network, heads)))


def _remarks(network: STonKGs, heads: PretrainingHeads) -> Iterator[str]:
    if network.folder and not heads.known:
        yield f"{network.folder} holds no heads of a pre-training, so they began with random weights"


def keep_pretrained(learned: PretrainedNetwork, training: Training, protocol: str) -> dict[str, Any] | None:
    """Write the model, its figures and plots. Returns the parts of run.json; None in all processes but the first."""
    trainer, folder = training.placed.trainer, training.folder
    trainer.strategy.barrier()
    if trainer.global_rank:
        return None
    found = best(learned.history)
    values: dict[str, Any] = {"validation": found} if found else {}
    learned.save(folder.model, kge=training.kge, temperature=1.0)
    folder.write(folder.metrics, {"protocol": protocol, **values})
    folder.write_history(learned.history)
    learning_curves(learned.history, protocol, folder.plots, scores=CURVES)
    return {"metrics": values, "temperature": 1.0, "remarks": list(learned.remarks)}


def best(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the row of history.csv whose validation has the lowest loss; empty if there is none."""
    rows = [dict(row) for row in history if "loss" in row]
    return min(rows, key=lambda row: row["loss"], default={})
