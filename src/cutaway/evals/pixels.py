"""Matrices as coloured cells in an SVG, in the inks of the page they stand on: light, dark or printed.

The cells' strengths are one small grey PNG, however many there are; it is the mask through which an ink is laid on. So
a drawing carries no colour of its own.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Scale = Literal["signed", "share", "ink"]
"""Signed values about nought, blue below and red above; shares from 0 to 1, blue; levels from 0, paper, to ink."""

_INKS = {"signed": (("--c", 1), ("--b", -1)), "share": (("--b", 1),), "ink": (("--ink", 1),)}


def largest(matrix: NDArray[np.float64], scale: Scale) -> float:
    """The value that gets all of the ink: 1 for shares, else the largest magnitude that is finite."""
    if scale == "share":
        return 1.0
    return float(np.abs(matrix[np.isfinite(matrix)]).max(initial=0.0))


def cells(
    matrix: NDArray[np.float64], scale: Scale, limit: float | None, x: float, y: float, width: float, height: float
) -> str:
    """A matrix `[row, column]` as a block of cells with a fine frame, its corner at `x`, `y`, in CSS pixels.

    All of the ink is laid on from `limit` on (by default the largest value). What is not finite is grey.
    """
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    frame = f'<rect {box} style="fill:none;stroke:var(--rule)"/>'
    if not matrix.size:
        return frame
    finite = np.isfinite(matrix)
    share = np.where(finite, matrix, 0.0) / (limit or largest(matrix, scale) or 1.0)
    layers = [(ink, np.clip(share * sign, 0, 1)) for ink, sign in _INKS[scale]]
    layers.append(("--rule", (~finite).astype(float)))
    return "".join(_laid_on(ink, strength, box) for ink, strength in layers if strength.any()) + frame


def _laid_on(ink: str, strength: NDArray[np.float64], box: str) -> str:
    encoded = base64.b64encode(_grey_png((strength * 255).round().astype(np.uint8))).decode("ascii")
    # Named for what is in it, so that several drawings on one page do not take each other's.
    name = f"m{zlib.crc32((box + encoded).encode()):08x}"
    return (
        f'<mask id="{name}" maskUnits="userSpaceOnUse" {box}><image {box} preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{encoded}"/></mask>'
        f'<rect {box} style="fill:var({ink})" mask="url(#{name})"/>'
    )


def _grey_png(levels: NDArray[np.uint8]) -> bytes:
    """An image file (ISO/IEC 15948) of `levels` `[row, column]`: one channel of eight bits, no filter."""
    height, width = levels.shape
    lines: Any = np.zeros((height, 1 + width), np.uint8)
    lines[:, 1:] = levels

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
