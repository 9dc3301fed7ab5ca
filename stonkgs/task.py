"""`stonkgs.task.Task`, as configurations name it."""

from stonkgs.train.task import Task

__all__ = ["Task"]
