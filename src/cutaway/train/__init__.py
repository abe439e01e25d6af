"""Training."""

from cutaway.train.loop import LoopSettings, Watch, forget_checkpoints, train
from cutaway.train.rows import Example, Rows, Source, lay_out

__all__ = ["Example", "LoopSettings", "Rows", "Source", "Watch", "forget_checkpoints", "lay_out", "train"]
