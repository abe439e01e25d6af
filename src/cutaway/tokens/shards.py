"""Token ids on disk: one flat array a split, memory-mapped when read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cutaway.runs.atomic import write_bytes
from cutaway.runs.errors import BadInput

TOKEN = np.dtype("<u2")
"""Two bytes a token: vocabularies of up to 65,536."""


def write_shard(path: Path, sequences: Iterable[Sequence[int]]) -> int:
    """Write token sequences end to end; give the number of tokens."""
    arrays = [np.asarray(sequence, dtype=TOKEN) for sequence in sequences]
    joined = np.concatenate(arrays) if arrays else np.empty(0, TOKEN)
    write_bytes(path, joined.tobytes())
    return len(joined)


def read_shard(path: Path) -> NDArray[np.uint16]:
    """The tokens of a shard, `[position]`, mapped and not read. Raises `BadInput` if it is absent or torn."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise BadInput(f"there is no shard {path}; the corpus stage makes it") from None
    if size % TOKEN.itemsize:
        raise BadInput(f"the shard {path} is torn ({size} bytes is no whole number of tokens); delete it and run again")
    return np.memmap(path, dtype=TOKEN, mode="r") if size else np.empty(0, TOKEN)
