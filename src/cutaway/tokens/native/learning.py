"""Counting a corpus's words in pieces and learning merges from the counts, with the native library."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, pre_tokenizers
from tokenizers import __version__ as tokenizers_version

from cutaway.runs import atomic
from cutaway.runs.cache import cache_directory
from cutaway.tokens.native.build import library
from cutaway.tokens.splits import Split

BATCH = 4_000_000
"""Characters whose words are counted at once."""
MOST_WORDS = 20_000_000
"""Different words that are kept while counting, in about 1.5 GB. Beyond, the rarest half is forgotten."""
KINDS = {"gpt2": 0, "cutaway": 1, "cl100k": 1, "o200k": 2}
CLASSES = {
    r"\p{L}": 1,
    r"\p{N}": 2,
    r"\s": 4,
    r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]": 8,
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]": 16,
}
"""The bits of scan.h."""
CODE_POINTS = 0x110000
BLOCKS = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000))
"""All code points but halves of pairs, the planes without characters and those for private use."""


class NativeTrainer:
    """Learns merges as the trainer of `tokenizers` does, to the same ones.

    Raises `CutawayError` where there is no native library to be had.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.library = library()
        self.classes = character_classes()

    def merges(
        self, texts: Iterable[str], known: Sequence[bytes], id_of_byte: Mapping[int, int], vocab_size: int
    ) -> list[tuple[int, int, int]]:
        """Pairs of tokens in the order in which they were joined, each with the token that they became.

        Args:
            texts: what to learn from; read once, in pieces, so that memory holds its different words and no more.
            known: the bytes of the tokens that there are, by id; empty for one that no bytes of a text can spell.
            id_of_byte: the token of each single byte.
            vocab_size: tokens to stop at.
        """
        words = self._count(texts)
        try:
            ids = np.array([id_of_byte[byte] for byte in range(256)], np.uint32)
            ends = np.cumsum([len(token) for token in known], dtype=np.int64)
            learner = self.library.cutaway_learn(
                words, ids.ctypes.data, b"".join(known), ends.ctypes.data, len(known), vocab_size
            )
        finally:
            self.library.cutaway_words_free(words)
        try:
            size = self.library.cutaway_learner_size(learner)
            found = ctypes.string_at(self.library.cutaway_learner_merges(learner), 4 * size) if size else b""
        finally:
            self.library.cutaway_learner_free(learner)
        rows = np.frombuffer(found, np.uint32).reshape(-1, 3).tolist()
        return [(left, right, token) for left, right, token in rows]

    def _count(self, texts: Iterable[str]) -> int:
        """The words of all texts. Batches are counted side by side and added up in their order."""
        native, workers = self.library, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        total: int = native.cutaway_words_new()
        waiting: deque[Future[int]] = deque()

        def add_next() -> None:
            part = waiting.popleft().result()
            native.cutaway_words_add_all(total, part)
            native.cutaway_words_free(part)
            if native.cutaway_words_size(total) > MOST_WORDS:
                native.cutaway_words_thin(total, MOST_WORDS)

        with ThreadPoolExecutor(workers) as pool:
            for batch in _batches(texts):
                waiting.append(pool.submit(self._count_batch, batch))
                if len(waiting) > workers:
                    add_next()
            while waiting:
                add_next()
        return total

    def _count_batch(self, texts: Sequence[str]) -> int:
        encoded = [text.encode() for text in texts]
        ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
        words: int = self.library.cutaway_words_new()
        self.library.cutaway_words_count(
            words,
            self.classes.ctypes.data,
            KINDS[self.split.name],
            self.split.digits,
            b"".join(encoded),
            ends.ctypes.data,
            len(encoded),
        )
        return words


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@cache
def character_classes() -> NDArray[np.uint8]:
    """What each code point is, `[code point]`, by the expressions of the very library that shares the result.

    It takes a second or two to ask, so the answer is kept.
    """
    file = cache_directory() / "native" / f"characters-{tokenizers_version}.bin"
    if file.exists() and file.stat().st_size == CODE_POINTS:
        return np.fromfile(file, np.uint8)
    where = np.array([point for block in BLOCKS for point in block])
    text = "".join(map(chr, where))
    classes = np.zeros(CODE_POINTS, np.uint8)
    for expression, bit in CLASSES.items():
        # What the expression does not match is taken out; the places of the rest are told in characters.
        only = pre_tokenizers.Split(Regex(expression + "+"), behavior="removed", invert=True)
        for _, (start, end) in only.pre_tokenize_str(text):
            classes[where[start:end]] |= bit
    atomic.write_bytes(file, classes.tobytes())
    return classes
