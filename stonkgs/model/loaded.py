"""A model with its store: what the Predictor and the Embedder compute with."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from stonkgs.batch import Batch
from stonkgs.encode.encoder import Encoder
from stonkgs.errors import UserError
from stonkgs.kge.lineage import lineage_of
from stonkgs.kge.store import KgeStore
from stonkgs.model.digest import model_digest
from stonkgs.model.network import Inputs, Network, check_walks
from stonkgs.model.weights import first_sentence


class Loaded:
    """A model with its store.

    Both may be paths. A model that is loaded here goes to `device`, by default to a GPU if there is one; a model object
    stays on its device unless `device` is given. Raises UserError if the model was trained with another store, and not
    with one that this has grown from. With `any_kge`, only a store that cannot work is refused.
    """

    def __init__(
        self,
        model: Network | str | os.PathLike[str],
        kge: KgeStore | str | os.PathLike[str],
        *,
        any_kge: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        if not isinstance(model, Network):
            if not isinstance(model, str | os.PathLike):
                raise UserError(f"a {type(model).__name__} is no model that predicts; give a Network, or its folder")
            model = Network.from_pretrained(os.fspath(model))
            device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.kge = kge if isinstance(kge, KgeStore) else KgeStore(path=kge)
        _check_fit(model, self.kge)
        if not any_kge:
            _check_same(model, self.kge)
        self.model = model if device is None else _moved(model, device)
        # Nodes are looked up for every model, because every output says whether they are known.
        self._inputs = {**model.inputs(self.kge), "nodes": model.nodes(self.kge)}

    @property
    def digest(self) -> str:
        """SHA-256 of the model's current configuration, tokenizer and weights. The store has its own digest."""
        return model_digest(self.model)

    @property
    def reads(self) -> Mapping[str, str]:
        """The columns of rows that the model reads beside source, target and evidence, and the key that names each."""
        return self.model.columns

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are mapped into memory: the store, and the weights if they were read from files."""
        return (Path(self.kge.path), *self.model.files)

    @property
    def module(self) -> Network:
        """The model."""
        return self.model

    def encoder(self, only: Sequence[str] | None = None) -> Encoder:
        """Returns the encoder that turns statements into this model's examples; with the inputs in `only`, if given."""
        wanted = self._inputs if only is None else (*only, "nodes")
        return Encoder({name: self._inputs[name] for name in wanted})

    def computed(self, batch: Batch, compute: Callable[[Inputs], Tensor], width: int) -> Tensor:
        """Returns what the model, in eval mode, computes for a batch, [B, width]; without rows it is not asked."""
        if not len(batch):
            return torch.zeros(0, width)
        with _evaluating(self.model):
            return compute(self.inputs(batch))

    def inputs(self, batch: Batch) -> Inputs:
        """Returns what the model reads of a batch, on its device."""
        weight = next(self.model.parameters(), torch.zeros(()))  # graph_only has none beside its classifier
        return {name: self._inputs[name].tensors(arrays, weight) for name, arrays in batch.inputs.items()}

    def finite(self, values: Tensor) -> Tensor:
        """Returns the values. Raises UserError if one of them is no number."""
        if not torch.isfinite(values).all():
            raise UserError(
                f"the model gives values that are not numbers: its weights, or the vectors of {self.kge.path}, "
                "are damaged; fetch or build them again"
            )
        return values


def _moved(model: Network, device: str | torch.device) -> Network:
    """Returns the model on a device. Raises UserError if there is no such device, or no room on it."""
    there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))])
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"device={device}: is no device; here there is {there}") from error
    try:
        if wanted.type == "meta":
            raise RuntimeError("it holds no numbers")
        return model.to(wanted)
    except (AssertionError, RuntimeError, NotImplementedError) as error:  # as torch has it, by the kind of device
        reason = first_sentence(error).rstrip(".")
        raise UserError(f"device={device}: cannot be used: {reason}; here there is {there}") from error


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Switch a model that is being trained to eval mode, and back afterwards."""
    training = [module for module in model.modules() if module.training] if model.training else []
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _check_fit(model: Network, kge: KgeStore) -> None:
    """Raises UserError if the model cannot work with the store."""
    config = model.config
    sizes = [("vectors of dimension", kge.dimension, config.dimension)]
    if model.reads_walks:
        check_walks(kge)
        sizes.append(("walks of length", kge.walk_length, config.walk_length))
    for what, has, wants in sizes:
        if has != wants:
            raise UserError(f"{kge.path}: {what} {has}, but the model reads {wants}: this is another model's store")
    if config.legacy_node_shift and kge.nodes <= 103:
        raise UserError(f"{kge.path}: {kge.nodes} nodes; a published checkpoint numbers its nodes past 103")


def _check_same(model: Network, kge: KgeStore) -> None:
    """Raises UserError if the model was trained with another store, and not with one that this has grown from."""
    config, lineage = model.config, lineage_of(kge.header.origin)
    if lineage.ancestors and lineage.legacy_node_shift != config.legacy_node_shift:
        how = "with" if config.legacy_node_shift else "without"
        raise UserError(
            f"{kge.path}: has grown for other models, which read vectors of other nodes than this one. "
            f"Grow it {how} --legacy-node-shift, or insist with any_kge=true"
        )
    if lineage.has(digest=config.kge_digest, nodes=config.kge_nodes):
        return
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
