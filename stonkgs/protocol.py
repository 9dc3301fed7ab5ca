"""`stonkgs.protocol.Grouped` and its like, as configurations name them."""

from stonkgs.train.protocol import Everything, Grouped, Protocol, Shuffled

__all__ = ["Everything", "Grouped", "Protocol", "Shuffled"]
