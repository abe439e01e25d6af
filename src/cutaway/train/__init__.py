"""Training."""

from cutaway.train.loop import LoopSettings, Watch, train
from cutaway.train.rows import Example, Rows, Source, lay_out

__all__ = ["Example", "LoopSettings", "Rows", "Source", "Watch", "lay_out", "train"]
