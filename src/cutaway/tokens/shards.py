"""Token ids on disk: one flat array a file, memory-mapped when read.

After the ids stand 64 bytes that say how wide an id is, how many there are, and their checksum. A file without them is
one of earlier times, two bytes an id.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutaway.runs.atomic import write_chunks
from cutaway.runs.errors import BadInput

NARROW, WIDE = np.dtype("<u2"), np.dtype("<u4")
"""Two bytes an id for vocabularies of up to 65,536, four beyond."""
MOST_NARROW = 65_536
FOOTER = struct.Struct("<8sHH4xQ32s8x")
"""Magic, version, bytes an id, number of ids, BLAKE2b of the ids."""
MAGIC, VERSION = b"cutawayT", 1
CHUNK = 1 << 22
"""Ids that are read or written at once."""

Ids = Sequence[int] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ShardInfo:
    """What a shard says of itself; a file of earlier times has no checksum."""

    n_tokens: int
    dtype: np.dtype[Any]
    checksum: bytes | None


def write_shard(path: Path, sequences: Iterable[Ids], *, vocab_size: int | None = None) -> int:
    """Write token sequences end to end; give the number of tokens.

    With the size of the vocabulary they are written as they come; without, all are held, to see how wide they must be.
    Raises `BadInput` on an id below 0 or, where `vocab_size` is given, one beyond it.
    """
    most = vocab_size
    if most is None:
        sequences = [np.asarray(sequence, np.int64) for sequence in sequences]
        most = max((int(sequence.max()) + 1 for sequence in sequences if sequence.size), default=0)
    dtype = NARROW if most <= MOST_NARROW else WIDE
    digest = hashlib.blake2b(digest_size=32)
    n = 0

    def chunks() -> Iterator[bytes]:
        nonlocal n
        for sequence in sequences:
            ids = np.asarray(sequence)
            if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < most:
                raise BadInput(f"{path}: token ids go from 0 to {most - 1}, but one is {ids.min()} or {ids.max()}")
            data = ids.astype(dtype).tobytes()
            digest.update(data)
            n += ids.size
            yield data
        yield FOOTER.pack(MAGIC, VERSION, dtype.itemsize, n, digest.digest())

    write_chunks(path, chunks())
    return n


def shard_info(path: Path) -> ShardInfo:
    """How many tokens a shard has, and how wide they are. Raises `BadInput` if it is absent or torn."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - FOOTER.size))
            end = file.read(FOOTER.size)
    except FileNotFoundError:
        raise BadInput(f"there is no shard {path}; the corpus stage makes it") from None
    except OSError as error:
        raise BadInput(f"the shard {path} cannot be read ({error.strerror})") from None
    if len(end) == FOOTER.size and end.startswith(MAGIC):
        _, version, width, n, checksum = FOOTER.unpack(end)
        if version != VERSION or width not in (2, 4) or n * width + FOOTER.size != size:
            raise BadInput(f"the shard {path} is torn, or of a later version; delete it and run again")
        return ShardInfo(n, NARROW if width == 2 else WIDE, checksum)
    if size % NARROW.itemsize:
        raise BadInput(f"the shard {path} is torn ({size} bytes is no whole number of tokens); delete it and run again")
    return ShardInfo(size // NARROW.itemsize, NARROW, None)


def read_shard(path: Path) -> NDArray[Any]:
    """The tokens of a shard, `[position]`, of 16 or 32 bits, mapped and not read.

    Raises `BadInput` if it is absent or torn; `check_shard` looks at every token.
    """
    info = shard_info(path)
    if not info.n_tokens:
        return np.empty(0, info.dtype)
    return np.memmap(path, dtype=info.dtype, mode="r", shape=(info.n_tokens,))


def check_shard(path: Path) -> ShardInfo:
    """What a shard says of itself, once its tokens were seen to be those that were written. Raises `BadInput`."""
    info = shard_info(path)
    if info.checksum is not None:
        tokens = read_shard(path)
        digest = hashlib.blake2b(digest_size=32)
        for start in range(0, info.n_tokens, CHUNK):
            digest.update(tokens[start : start + CHUNK].tobytes())
        if digest.digest() != info.checksum:
            raise BadInput(f"the shard {path} is damaged: its checksum is another; make it again")
    return info
