"""Files of tiktoken's kind: each token's bytes in base64 and its rank, its id and its merge's place at once."""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

from cutaway.runs.errors import BadInput

LARGEST_FILE = 256 * 2**20
"""Bytes, unpacked."""


def read_ranks(path: Path) -> dict[bytes, int]:
    """The rank of each token. The file may be packed (`.gz`). Raises `BadInput` if it is no such file."""
    data = read_maybe_packed(path)
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise BadInput(f"{path}, line {number}, is no token in base64 and its rank: it is no ranks file") from None
    bytes_ = {token for token in ranks if len(token) == 1}
    if len(bytes_) < 256 or len(set(ranks.values())) < len(ranks) or min(ranks.values()) < 0 or b"" in ranks:
        raise BadInput(f"{path} lacks one of the 256 bytes, or has a rank twice: it is no whole ranks file")
    return ranks


def write_ranks(ranks: Mapping[bytes, int]) -> bytes:
    """The file that says these ranks."""
    lines = (base64.b64encode(token) + b" %d\n" % rank for token, rank in sorted(ranks.items(), key=lambda x: x[1]))
    return b"".join(lines)


def merges_of_ranks(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The two tokens that each longer token is made of, in the order of the ranks.

    They are what is left when a token's bytes are joined as far as the ranks below its own go. Raises `BadInput` where
    that leaves more than two: no merges can then say what the ranks do.
    """
    merges: list[tuple[bytes, bytes]] = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        cuts = [
            (token[:i], token[i:])
            for i in range(1, len(token))
            if ranks.get(token[:i], rank) < rank and ranks.get(token[i:], rank) < rank
        ]
        if len(cuts) != 1:
            parts = joined([token[i : i + 1] for i in range(len(token))], ranks, rank)
            if len(parts) != 2:
                raise BadInput(f"the token {token!r} of rank {rank} is not made of two others: merges cannot say it")
            cuts = [(parts[0], parts[1])]
        merges.append(cuts[0])
    return merges


def joined(parts: list[bytes], ranks: Mapping[bytes, int], below: int) -> list[bytes]:
    """Neighbours joined, those of the lowest rank first, as far as ranks under `below` go."""
    while len(parts) > 1:
        found = [(ranks.get(parts[i] + parts[i + 1], below), i) for i in range(len(parts) - 1)]
        rank, i = min(found)
        if rank >= below:
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def read_maybe_packed(path: Path) -> bytes:
    """A file's bytes, unpacked where it is gzip's. Raises `BadInput` if it cannot be read or is huge."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} cannot be read ({error}); get it again") from None
    if len(data) > LARGEST_FILE:
        raise BadInput(f"{path} has more than {LARGEST_FILE:,} bytes; no vocabulary does")
    return data
