"""What a network reads, put together by hand."""

from torch import Tensor

from stonkgs.model.network import Inputs


def network_inputs(*, tokens: Tensor, lengths: Tensor, text: Tensor, vectors: Tensor, graph: Tensor) -> Inputs:
    """The inputs of STonKGs: distinct texts with their lengths, each row's text; distinct vectors, and the walks."""
    return {
        "text": {"tokens": tokens, "lengths": lengths, "index": text},
        "walks": {"vectors": vectors, "graph": graph},
    }
