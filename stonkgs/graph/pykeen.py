"""The method `pykeen`: models of triples, which learn a vector of each relation too. It needs the extra `kge`."""

import gc
import math
import warnings
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stonkgs.config.values import Count, Range, Whole, checked
from stonkgs.errors import UserError
from stonkgs.graph.graph import Graph
from stonkgs.graph.method import Method
from stonkgs.graph.vectors import one_thread, scale


class PyKeen(Method):
    """Trains a model of PyKEEN (Ali et al. 2021) on the triples, with random negatives, by Adam.

    Nodes and relations have vectors of one width, so models will do that have one vector for either, such as TransE,
    DistMult, RotatE or ComplEx. Complex numbers (RotatE, ComplEx) are stored as real and imaginary part side by side:
    D numbers are D / 2 complex ones. PyKEEN holds triples and vectors in memory.
    """

    name = "pykeen"
    learns_relations = True

    @checked("method")
    def __init__(
        self,
        *,
        model: str = "TransE",
        dimension: Count = 64,
        walk_length: Count = 127,
        walks_per_node: Count = 1,
        epochs: Count = 100,
        batch_size: Count = 1024,
        learning_rate: Annotated[float, Range(1e-9, 10)] = 0.01,
        seed: Whole = 0,
    ) -> None:
        super().__init__(dimension=dimension, walk_length=walk_length, walks_per_node=walks_per_node, seed=seed)
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate

    def learn(self, graph: Graph, vectors: NDArray[np.float32], walks: NDArray[np.int32]) -> None:
        if not len(graph.triples):
            raise UserError("method=pykeen: the graph has no triples to learn from")
        with one_thread(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'pin_memory'")  # of no use without a GPU, and PyKEEN always asks for it
            torch.manual_seed(self.seed)
            entities, relations = self._train(graph)
        vectors[: graph.nodes], vectors[graph.nodes :] = entities, relations
        scale(vectors)
        self.walks.fill(graph, walks)

    def _train(self, graph: Graph) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the vectors of nodes and of relations."""
        factory, loops = _pykeen()
        triples = torch.from_numpy(graph.triples.astype(np.int64))
        triples_factory = factory.create(triples, num_entities=graph.nodes, num_relations=len(graph.relations))
        model = self._make(triples_factory)
        adam = torch.optim.Adam(model.get_grad_params(), lr=self.learning_rate)
        loop = loops(model=model, triples_factory=triples_factory, optimizer=adam)
        # After each epoch PyKEEN has Python look through all objects; what exists by now, 0.5 s a time, is passed over.
        gc.freeze()
        try:
            losses = loop.train(
                triples_factory,
                num_epochs=self.epochs,
                batch_size=min(self.batch_size, len(triples)),
                use_tqdm=False,
                use_tqdm_batch=False,
            )
        finally:
            gc.unfreeze()
        if not math.isfinite(losses[-1]):
            raise UserError(f"method.model={self.model}: the loss is not finite; lower method.learning_rate")
        return _vectors(model.entity_representations), _vectors(model.relation_representations)

    def _make(self, triples_factory: Any) -> Any:
        """Returns a model with random weights. Raises UserError unless it fits a store."""
        from pykeen.models import model_resolver

        try:
            kind = model_resolver.lookup(self.model)
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"method.model={self.model}: PyKEEN has none; TransE, for example") from error
        probe = self._fitting(kind, triples_factory, self.dimension)
        width = _width(probe.entity_representations)
        if width != self.dimension:  # its numbers are complex
            if self.dimension % 2:
                raise UserError(f"method.dimension={self.dimension}: {self.model} needs an even number")
            probe = self._fitting(kind, triples_factory, self.dimension // 2)
        widths = _width(probe.entity_representations), _width(probe.relation_representations)
        if widths != (self.dimension, self.dimension):
            raise UserError(
                f"method.model={self.model}: has other vectors than one of equal width for a node and a relation; "
                "take TransE, DistMult, RotatE or ComplEx"
            )
        return probe

    def _fitting(self, kind: Any, triples_factory: Any, dimension: int) -> Any:
        try:
            return kind(triples_factory=triples_factory, embedding_dim=dimension, random_seed=self.seed)
        except (TypeError, ValueError) as error:
            raise UserError(f"method.model={self.model}: cannot be made so; take TransE, for example") from error


def _pykeen() -> tuple[Any, Any]:
    """Returns PyKEEN's factory of triples and its training loop. Raises UserError where it is missing."""
    try:
        from pykeen.training import SLCWATrainingLoop
        from pykeen.triples import CoreTriplesFactory
    except ImportError as error:
        raise UserError("method=pykeen needs PyKEEN, which is not installed: pip install 'stonkgs[kge]'") from error
    return CoreTriplesFactory, SLCWATrainingLoop


def _width(representations: Any) -> int:
    """Returns how many real numbers there are to a node or relation; -1 if they are no single vector."""
    if len(representations) != 1 or len(representations[0].shape) != 1:
        return -1
    return int(_vectors(representations, torch.zeros(1, dtype=torch.long)).shape[1])


def _vectors(representations: Any, numbers: Tensor | None = None) -> NDArray[np.float32]:
    """Returns the vectors of nodes or relations, by default of all. A complex number becomes two real ones."""
    with torch.no_grad():
        found: Tensor = representations[0](numbers)
    if found.is_complex():
        found = torch.view_as_real(found).flatten(1)
    return found.detach().float().numpy()
