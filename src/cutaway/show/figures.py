"""What can be shown, by the names that a notebook calls it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cutaway.infer.trace import Trace
from cutaway.lens.surprise import surprise
from cutaway.runs import BadInput
from cutaway.show.figure import Figure

MOST = 4 << 20
"""Numbers of one figure."""
COLUMNS = 32
"""Of a table that stands for a figure."""
HEADING, BELOW = 45, 64
"""Pixels of a frame's height, which is what its figure needs: a heading, and what is told below the figure."""

Numbers = Tensor | np.ndarray[Any, Any] | Sequence[Sequence[float]]


def attention(trace: Trace, layer: int = 0, head: int = 0) -> Figure:
    """The patterns of a block's heads, one of them large: which share of its attention each position gives to which.

    Raises:
        BadInput: there is no such block or head, or the trace is not of one text.
    """
    ids = _text(trace)
    name = f"blocks.{layer}.attn.hook_pattern"
    patterns = trace[name][0].float()
    if not 0 <= head < len(patterns):
        raise BadInput(f"block {layer} has no head {head}; its heads go from 0 to {len(patterns) - 1}")
    named = [_token(trace, id_) for id_ in ids]
    names = [_visible(token) for token in named]
    cell = max(4, min(28, 420 // len(ids)))
    given = {
        "kind": "attention",
        "title": f"Attention of block {layer}",
        "name": name,
        "values": _packed(patterns),
        "tokens": named,
        "head": head,
        "cell": cell,
    }
    rows = _rows(patterns[head], names)
    height = (
        HEADING
        + 110 * math.ceil(len(patterns) / 8)
        + HEADING
        + len(ids) * cell
        + (_under(names) if cell >= 14 else 0)
        + BELOW
    )
    return Figure(given, [f"head {head}: query", *names[:COLUMNS]], rows, height)


def heatmap(
    values: Numbers,
    *,
    name: str,
    rows: str = "row",
    columns: str = "column",
    row_names: Sequence[str] | None = None,
    column_names: Sequence[str] | None = None,
    scale: Literal["signed", "share"] = "signed",
) -> Figure:
    """Numbers `[row, column]` as an image; `scale` says whether they are shares from 0 to 1 or have signs.

    Raises:
        BadInput: these are no numbers in rows and columns, or names are missing.
    """
    matrix = torch.as_tensor(values).detach().float()
    if matrix.dim() != 2 or not matrix.numel():
        raise BadInput(f"a heat map takes numbers in rows and columns, not of the shape {list(matrix.shape)}")
    for names, axis, size in ((row_names, rows, len(matrix)), (column_names, columns, matrix.shape[1])):
        if names is not None and len(names) != size:
            raise BadInput(f"{len(names)} names for {size} of the axis {axis!r}; give one for each")
    named = list(row_names) if row_names is not None else [str(i) for i in range(len(matrix))]
    across = list(column_names) if column_names is not None else [str(j) for j in range(matrix.shape[1])]
    given = {
        "kind": "heatmap",
        "title": name,
        "matrix": {
            "name": name,
            "values": _packed(matrix),
            "columns": matrix.shape[1],
            "scale": scale,
            "rowAxis": rows,
            "columnAxis": columns,
            "rowNames": named,
            "columnNames": across,
        },
    }
    height = HEADING + max(60, 18 * min(len(matrix), 40)) + (_under(across) if len(across) <= 40 else 0) + BELOW
    return Figure(given, [rows, *across[:COLUMNS]], _rows(matrix, named), height)


def curve(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, name: str, x: str, y: str, log: bool = False
) -> Figure:
    """Curves over one axis: of each name its places and its values; `x` and `y` name the axes.

    Raises:
        BadInput: a curve has no points, or as many places as values it has not, or some that are no numbers.
    """
    for which, (places, values) in curves.items():
        if not len(places) or len(places) != len(values):
            raise BadInput(f"the curve {which!r} has {len(places)} places and {len(values)} values")
        if not all(math.isfinite(value) for value in (*places, *values)):
            raise BadInput(f"the curve {which!r} has points that are no numbers; leave them out")
    lines = [
        {"name": which, "x": [float(at) for at in places], "y": [float(value) for value in values]}
        for which, (places, values) in curves.items()
    ]
    if not lines:
        raise BadInput("there is no curve to draw")
    given = {
        "kind": "curve",
        "title": name,
        "chart": {"name": name, "xAxis": x, "yAxis": y, "curves": lines, "log": log},
    }
    rows = [
        [which, f"{at:g}", f"{value:.6g}"]
        for which, (places, values) in curves.items()
        for at, value in zip(places, values, strict=True)
    ]
    return Figure(given, ["curve", x, y], rows, 540)


def tokens(trace: Trace) -> Figure:
    """A text token by token, each under a bar of its surprise: -log2 of the probability that the model gave it.

    Raises:
        BadInput: the trace is not of one text.
    """
    ids = _text(trace)
    bits = [None, *surprise(trace.model, ids).tolist()]
    named = [_token(trace, id_) for id_ in ids]
    given = {"kind": "tokens", "title": "Surprise of each token", "name": "bits", "tokens": named, "bits": bits}
    rows = [
        [str(i), _visible(token), "" if bit is None else f"{bit:.3f}"]
        for i, (token, bit) in enumerate(zip(named, bits, strict=True))
    ]
    # A token is as wide as its letters; a line of them has place for some ninety.
    lines = math.ceil(sum(len(_visible(token)) + 1 for token in named) / 90)
    return Figure(given, ["position", "token", "bits"], rows, HEADING + min(480, 108 * lines) + BELOW)


def _text(trace: Trace) -> list[int]:
    ids = trace.read[0]
    if len(ids) != 1 or len(trace.read) > 1:
        raise BadInput("a figure is of one text read by a decoder; this trace has several")
    return ids[0].tolist()


def _token(trace: Trace, token: int) -> dict[str, object]:
    """What the page calls a token's shape; of a trace without a tokenizer, its number."""
    tokenizer = trace.tokenizer
    if tokenizer is None:
        return {"id": token, "text": str(token), "bytes": "", "whole": True, "mark": False}
    name = next((name for name, id_ in tokenizer.special.items() if id_ == token), None)
    if name is not None:
        return {"id": token, "text": name, "bytes": "", "whole": True, "mark": True}
    raw = tokenizer.token_bytes(token)
    text = raw.decode("utf-8", "replace")
    return {"id": token, "text": text, "bytes": raw.hex(), "whole": text.encode() == raw, "mark": False}


def _visible(token: dict[str, object]) -> str:
    return str(token["text"]).replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥")


def _under(names: Sequence[str]) -> int:
    """The height of names that stand upright under columns, of which no more than twelve letters are shown."""
    return 8 * min(12, max(map(len, names))) + 8


def _packed(values: Tensor) -> str:
    if values.numel() > MOST:
        raise BadInput(f"{values.numel():,} numbers are too many for one figure; {MOST:,} are the most: show a part")
    return base64.b64encode(values.cpu().contiguous().numpy().astype("<f4").tobytes()).decode()


def _rows(matrix: Tensor, names: Sequence[str]) -> list[list[str]]:
    shown = matrix[:, :COLUMNS].tolist()
    return [[name, *(f"{value:.3f}" for value in row)] for name, row in zip(names, shown, strict=True)]
