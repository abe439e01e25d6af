"""Numbers as they lie in memory, for answers that would be many times longer as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi.responses import Response
from numpy.typing import NDArray

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
"""What the OpenAPI document says of a route that answers so."""


def numbers(array: NDArray[np.floating[Any]], **headers: str) -> Response:
    """`array` as little-endian float32, row by row; the header `X-Shape` says its shape."""
    told = {"X-Shape": ",".join(map(str, array.shape)), "Cache-Control": "no-store", **headers}
    return Response(array.astype("<f4").tobytes(), media_type="application/octet-stream", headers=told)
