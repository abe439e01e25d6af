"""A digit that was drawn anywhere on a sheet, put where a network has learned to look for it.

A network of fully connected layers knows each pixel by its place: moved by three pixels, a five is another image to it.
So a drawing is laid out as the makers of MNIST (LeCun, Bottou, Bengio and Haffner 1998) laid out theirs: the ink's box
scaled to 20×20 pixels, its sides' ratio kept, and set into 28×28 so that the ink's centre of mass is in the middle.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

SIDE, BOX = 28, 20
MIDDLE = 14.5
"""Where the centre of mass lies along each axis, from an edge: in the pixel right of the middle and below it."""
INK = 0.1
"""Level of grey from which on a pixel belongs to the ink's box."""

Image = NDArray[np.float32]


def centred(drawing: Image) -> Image:
    """A drawing `[row, column]` as an image of MNIST's `[28, 28]`; an empty sheet stays empty."""
    ink = _cropped(drawing)
    if ink is None:
        return np.zeros((SIDE, SIDE), np.float32)
    ink = _fitted(ink)
    rows, columns = ink.shape
    weights = ink / ink.sum()
    middle = [float((weights.sum(axis=1 - axis) * (np.arange(ink.shape[axis]) + 0.5)).sum()) for axis in (0, 1)]
    # Nothing may stand over the edge, wherever its centre of mass is.
    top = min(max(round(MIDDLE - middle[0]), 0), SIDE - rows)
    left = min(max(round(MIDDLE - middle[1]), 0), SIDE - columns)
    return np.pad(ink, ((top, SIDE - rows - top), (left, SIDE - columns - left)))


def _cropped(drawing: Image) -> Image | None:
    """The ink's box; None where there is no ink."""
    there = drawing >= INK
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    if not len(rows):
        return None
    return drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fitted(ink: Image) -> Image:
    """As large as fits into the box, the ratio of its sides kept."""
    scale = BOX / max(ink.shape)
    rows, columns = (max(1, round(side * scale)) for side in ink.shape)
    wide = torch.from_numpy(np.ascontiguousarray(ink))[None, None]
    return F.interpolate(wide, (rows, columns), mode="bilinear", antialias=True)[0, 0].clamp(0, 1).numpy()
