"""What a general file compressor makes of the held-out text: a floor that a language model has to beat."""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor


def xz_bits_per_byte(train_texts: Iterable[str], heldout_texts: Iterable[str]) -> float:
    """Bits per byte of held-out text to ``xz -9e`` that has seen the training text.

    xz cannot be trained, so training and held-out text are compressed as one file, and the size of the training text
    compressed alone is taken away. Preset 9 looks back 64 MiB: on a larger training text it forgets the beginning.
    Raises ValueError if there is no held-out text.
    """
    train = "\n\n".join(train_texts).encode()
    heldout = "\n\n".join(heldout_texts).encode()
    if not heldout:
        raise ValueError("no held-out text to compress")
    # lzma lets go of the interpreter lock: two cores do both at once.
    with ThreadPoolExecutor(2) as pool:
        alone, together = pool.map(_compressed_size, (train, train + b"\n\n" + heldout))
    return (together - alone) * 8 / len(heldout)


def _compressed_size(data: bytes) -> int:
    # A dictionary longer than the data finds nothing more, and costs ten times its length in memory.
    dictionary = min(64 * 2**20, max(4096, 1 << (len(data) - 1).bit_length())) if data else 4096
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}]
    return len(lzma.compress(data, filters=filters))
