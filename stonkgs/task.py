"""`stonkgs.task.Task` and `stonkgs.task.Pretraining`, as configurations name them."""

from stonkgs.train.task import Task
from stonkgs.train.unlabelled import Pretraining

__all__ = ["Pretraining", "Task"]
