"""Looking inside a model."""

from cutaway.infer.trace import Trace

__all__ = ["Trace"]
