"""Batch -> probabilities: the one place where a model and a store meet."""

import numpy as np
import torch
from torch import Tensor

from stonkgs.batch import Batch
from stonkgs.encode.encoder import Encoder
from stonkgs.encode.kge import KgeStore
from stonkgs.errors import UserError
from stonkgs.model.network import Inputs, STonKGs


class Predictor:
    """A model with its store, loaded once. The Lightning module and any outside engine call it with batches.

    Raises UserError where the store is not the model's, unless `any_kge`: then only what cannot work is refused.
    """

    def __init__(self, model: STonKGs, kge: KgeStore, *, any_kge: bool = False) -> None:
        _check_fit(model, kge)
        if not any_kge:
            _check_same(model, kge)
        self.model = model
        self.kge = kge

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.model.config.labels

    def encoder(self) -> Encoder:
        """What turns statements into this model's examples."""
        return Encoder(text=self.model.text, kge=self.kge, legacy_node_shift=self.model.config.legacy_node_shift)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """Probabilities, float32 [B, classes], on the model's device."""
        if not len(batch):
            return torch.zeros(0, len(self.labels))
        probabilities = torch.softmax(self.model(self.inputs(batch)).float(), dim=-1)
        if not torch.isfinite(probabilities).all():
            raise UserError(
                f"the model gives values that are not numbers: its weights, or the vectors of {self.kge.path}, "
                "are damaged; fetch or build them again"
            )
        return probabilities

    def inputs(self, batch: Batch) -> Inputs:
        """The batch on the model's device; its distinct vectors are gathered from the store's map just in time."""
        weight = self.model.bert.pooler.dense.weight
        return Inputs(
            **{
                name: torch.from_numpy(getattr(batch, name).astype(np.int64)).to(weight.device)
                for name in ("tokens", "lengths", "text", "graph")
            },
            vectors=torch.from_numpy(self.kge.gather(batch.nodes)).to(weight),
        )


def _check_fit(model: STonKGs, kge: KgeStore) -> None:
    config = model.config
    for what, has, wants in (
        ("vectors of dimension", kge.dimension, config.dimension),
        ("walks of length", kge.walk_length, config.walk_length),
    ):
        if has != wants:
            raise UserError(f"{kge.path}: {what} {has}, but the model reads {wants}: this is another model's store")
    if config.legacy_node_shift and kge.nodes <= 103:
        raise UserError(f"{kge.path}: {kge.nodes} nodes; a published checkpoint numbers its nodes past 103")


def _check_same(model: STonKGs, kge: KgeStore) -> None:
    config = model.config
    if config.kge_nodes not in (None, kge.nodes):
        raise UserError(
            f"{kge.path}: {kge.nodes:,} nodes, but the model was trained with {config.kge_nodes:,}. "
            "Give the store that belongs to it, or insist with any_kge=true"
        )
    if config.kge_digest not in (None, kge.digest):
        raise UserError(
            f"{kge.path}: digest {kge.digest[:12]}, but the model was trained with {config.kge_digest[:12]}. "
            "Give the store that belongs to it, or insist with any_kge=true"
        )
