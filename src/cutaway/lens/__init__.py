"""Looking inside: what a model's tensors mean, and what becomes of its answer when one is changed."""

from cutaway.infer.trace import Trace
from cutaway.lens.changes import Clamp, Swap, changed_by, part
from cutaway.lens.depth import through_depth, without_blocks
from cutaway.lens.logit_lens import logit_lens
from cutaway.lens.one_head import OneHead, one_head
from cutaway.lens.surprise import surprise, surprise_within

__all__ = [
    "Clamp",
    "OneHead",
    "Swap",
    "Trace",
    "changed_by",
    "logit_lens",
    "one_head",
    "part",
    "surprise",
    "surprise_within",
    "through_depth",
    "without_blocks",
]
