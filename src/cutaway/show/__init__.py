"""The page's figures in a notebook, drawn by the same components: of a trace, or of any numbers."""

from cutaway.show.figure import Figure
from cutaway.show.figures import attention, curve, heatmap, tokens

__all__ = ["Figure", "attention", "curve", "heatmap", "tokens"]
