"""Files of sorted fixed-size records, read together in order of a key without holding more than a share of them.

Each pass-1 task leaves one sorted file. A merge goes over the range of keys in shares: of every file it takes the
records whose key lies in the share, found by bisection, so that memory is bounded by the share and equal keys always
meet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SHARE = 1 << 26
"""Bytes of records that are in memory at once, about."""
_SAMPLES = 1 << 14

Records = npt.NDArray[np.void]


class SortedRecords:
    """The record files of one folder. `key` gives a record's 64-bit key, by which each file is sorted."""

    def __init__(self, paths: Sequence[Path], dtype: np.dtype[Any], key: Callable[[Any], int]) -> None:
        self.numbers = [int(path.name.partition(".")[0]) for path in paths]
        """The task that each file is of, from its name."""
        self._files = [
            np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype) for path in paths
        ]
        self._dtype = dtype
        self._key = key

    @property
    def size(self) -> int:
        """Bytes of all records."""
        return sum(file.nbytes for file in self._files)

    def borders(self, shares: int) -> list[int]:
        """Keys that cut the records into about equal shares: the first of each share but the first, in order."""
        if shares < 2:
            return []
        total = sum(map(len, self._files))
        step = max(total // _SAMPLES, 1)
        sample = sorted(self._key(file[place]) for file in self._files for place in range(0, len(file), step))
        return sorted({sample[share * len(sample) // shares] for share in range(1, shares)}) if sample else []

    def share(self, first: int | None, end: int | None) -> tuple[npt.NDArray[np.uint32], Records]:
        """All records with first <= key < end (None: no border) and, of each, its task's number."""
        numbers: list[npt.NDArray[np.uint32]] = []
        taken: list[Records] = []
        for number, file in zip(self.numbers, self._files, strict=True):
            begin = 0 if first is None else self._place(file, first)
            stop = len(file) if end is None else self._place(file, end)
            if begin < stop:
                taken.append(np.array(file[begin:stop]))
                numbers.append(np.full(stop - begin, number, dtype=np.uint32))
        if not taken:
            return np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=self._dtype)
        return np.concatenate(numbers), np.concatenate(taken)

    def _place(self, file: Any, key: int) -> int:
        return bisect_left(range(len(file)), key, key=lambda place: self._key(file[place]))
