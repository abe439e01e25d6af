"""Files opened for reading, decompressed on the way (.gz, .bz2, .zst) and watched for bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from cutaway.corpus.sources.bounds import CHUNK, Unreadable, check_expansion

PACKED = (".gz", ".bz2", ".zst")


def bare_suffix(path: Path) -> str:
    """The suffix that says what a file holds, in lower case: ".jsonl" of pages.jsonl.gz."""
    name = path.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix


@contextmanager
def opened(path: Path) -> Generator[io.BufferedReader]:
    """The file's bytes as a stream, decompressed.

    Raises:
        Unreadable: while reading: compressed data that are broken, end early or grow too much.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        suffix = path.suffix.lower()
        if suffix == ".gz":
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=file))
        elif suffix == ".bz2":
            stream = cast("BinaryIO", bz2.BZ2File(file))
        elif suffix == ".zst":
            import pyarrow as pa  # here, because few files are Zstandard

            stream = cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))
        else:
            yield file
            return
        yield io.BufferedReader(_Watched(stream, file), CHUNK)


class _Watched(io.RawIOBase):
    """Decompressed data, counted against the compressed bytes that they came from."""

    def __init__(self, stream: BinaryIO, file: BinaryIO) -> None:
        self._stream = stream
        self._file = file
        self._written = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        try:
            data = self._stream.read(len(buffer))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise Unreadable(f"its compressed data are broken ({error})") from None
        self._written += len(data)
        check_expansion(self._file.tell(), self._written)
        buffer[: len(data)] = data
        return len(data)
