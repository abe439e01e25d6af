"""Looking inside: what a model's tensors mean, and what becomes of its answer when one is changed."""

from cutaway.infer.trace import Trace
from cutaway.lens.changes import Clamp, Swap, changed_by, part
from cutaway.lens.logit_lens import logit_lens

__all__ = ["Clamp", "Swap", "Trace", "changed_by", "logit_lens", "part"]
