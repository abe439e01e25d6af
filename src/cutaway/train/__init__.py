"""Training."""

from cutaway.train.loop import Watch, train, unwatched
from cutaway.train.rows import Example, Rows, Source, lay_out
from cutaway.train.settings import LoopSettings

__all__ = ["Example", "LoopSettings", "Rows", "Source", "Watch", "lay_out", "train", "unwatched"]
