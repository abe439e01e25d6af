"""What a GGUF file says before its tensors: metadata, among it the vocabulary, and each tensor's place.

A file is four letters, a version, two counts, the metadata (a key, a type and a value each), one line for each tensor,
and from the next multiple of the alignment on the tensors' bytes. Nothing that a header claims is believed before the
file has been seen to be long enough for it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Never

import numpy as np

from cutaway.runs.errors import BadInput

Value = bool | int | float | str | Sequence[bool] | Sequence[int] | Sequence[float] | Sequence[str]
Metadata = Mapping[str, Value]

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, INT64 = 4, 5, 6, 7, 8, 9, 11
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
LONGEST_STRING = 2**24
LONGEST_ARRAY = 2**24
MOST_DIMENSIONS = 4
VOCABULARY = "tokenizer."
"""How the keys of the vocabulary begin."""


@dataclass(frozen=True)
class Stored:
    """One tensor of a file: the number of its kind, its shape (outermost first), and where its bytes begin."""

    kind: int
    shape: tuple[int, ...]
    begin: int


@dataclass(frozen=True)
class Header:
    """A file's metadata and its tensors by name; `size` is the file's, in bytes."""

    metadata: dict[str, Value]
    tensors: dict[str, Stored]
    alignment: int
    size: int


def read_header(path: Path, *, vocabulary: bool = True) -> Header:
    """What a file says of itself, with or without its vocabulary, which is most of it.

    Raises `BadInput` if it is no GGUF, is cut short, or claims what cannot be.
    """
    try:
        with open(path, "rb", buffering=2**20) as file:
            return _Reader(file, path).header(vocabulary=vocabulary)
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a directory, not a GGUF file") from None


class _Reader:
    """Reads forward through a file, never past its end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path
        self.size = path.stat().st_size
        self.where = "its header"

    def fail(self, problem: str) -> Never:
        raise BadInput(f"{self.path} {problem}")

    def take(self, n: int) -> bytes:
        data = self.file.read(n) if n <= self.size - self.file.tell() else b""
        if len(data) != n:
            self.fail(f"is cut short inside {self.where}; get the model again")
        return data

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        length = self.number("<Q")
        if length > LONGEST_STRING:
            self.fail(f"claims a text of {length} bytes in {self.where}; the header lies")
        return self.take(length).decode("utf-8", "replace")

    def value(self, kind: int) -> Value:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self.array(self.number("<I"), self.number("<Q"))
        if kind not in SCALARS:
            self.fail(f"has a value of the unknown type {kind} in {self.where}; the header lies")
        raw = self.take(struct.calcsize(SCALARS[kind]))
        if kind == FLOAT32:
            # The shortest number that is this one: 1e-05, not 9.999999747378752e-06.
            return float(str(np.frombuffer(raw, "<f4")[0]))
        return struct.unpack(SCALARS[kind], raw)[0]

    def array(self, kind: int, n: int) -> Value:
        if n > LONGEST_ARRAY:
            self.fail(f"claims a list of {n} in {self.where}; the header lies")
        if kind == STRING:
            return [self.text() for _ in range(n)]
        if kind not in SCALARS:
            self.fail(f"has a list of the unknown type {kind} in {self.where}; the header lies")
        form = np.dtype(SCALARS[kind])
        return np.frombuffer(self.take(n * form.itemsize), form).tolist()

    def header(self, *, vocabulary: bool) -> Header:
        start = self.file.read(4)
        if start[:2] in (b"\x80\x02", b"PK"):
            self.fail("is a pickle, which can run code when opened; get the model as GGUF or safetensors")
        if start != MAGIC:
            self.fail("is no GGUF file; get the model again")
        version = self.number("<I")
        if version not in VERSIONS:
            self.fail(f"is of GGUF version {version}, of which only {' and '.join(map(str, VERSIONS))} can be opened")
        n_tensors, n_values = self.number("<Q"), self.number("<Q")
        metadata: dict[str, Value] = {}
        seen: set[str] = set()
        for _ in range(n_values):
            key = self.text()
            self.where = f"its value {key}"
            if key in seen:
                self.fail(f"gives {key} twice; the header lies")
            seen.add(key)
            value = self.value(self.number("<I"))
            if vocabulary or not key.startswith(VOCABULARY):
                metadata[key] = value
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0 or alignment % 8:
            self.fail(f"says that its tensors begin at multiples of {alignment!r}; the header lies")
        self.where = "its list of tensors"
        offsets: dict[str, tuple[int, tuple[int, ...], int]] = {}
        for _ in range(n_tensors):
            name = self.text()
            self.where = f"what it says of tensor {name}"
            if name in offsets:
                self.fail(f"has tensor {name} twice; the header lies")
            offsets[name] = self.tensor(name)
        data = self.file.tell() + -self.file.tell() % alignment
        tensors = {name: Stored(kind, shape, data + offset) for name, (kind, shape, offset) in offsets.items()}
        return Header(metadata, tensors, alignment, self.size)

    def tensor(self, name: str) -> tuple[int, tuple[int, ...], int]:
        """A tensor's kind, shape and offset."""
        n_dimensions = self.number("<I")
        if not 0 < n_dimensions <= MOST_DIMENSIONS:
            self.fail(f"says that tensor {name} has {n_dimensions} dimensions; the header lies")
        # Innermost first, as ggml counts them.
        shape = struct.unpack(f"<{n_dimensions}Q", self.take(8 * n_dimensions))[::-1]
        if not all(shape):
            self.fail(f"says that tensor {name} has the shape {list(shape)}; the header lies")
        return self.number("<I"), shape, self.number("<Q")


def header_bytes(metadata: Metadata, tensors: Mapping[str, tuple[int, tuple[int, ...], int]]) -> bytes:
    """A header for tensors given by their kind, shape and size in bytes, up to where the first of them begins."""
    parts = [MAGIC, struct.pack("<IQQ", VERSIONS[-1], len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_text(key), _value(value)]
    offset = 0
    for name, (kind, shape, size) in tensors.items():
        parts += [_text(name), struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, offset)]
        offset += size + padding(size)
    header = b"".join(parts)
    return header + bytes(padding(len(header)))


def padding(size: int) -> int:
    """How many bytes come after so many, up to where the next tensor may begin."""
    return -size % ALIGNMENT


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Value) -> bytes:
    """A value with its type before it: whole numbers take 32 bits where they fit, real ones always."""
    match value:
        case bool():
            return struct.pack("<I?", BOOL, value)
        case int():
            return struct.pack("<II", UINT32, value) if 0 <= value < 2**32 else struct.pack("<Iq", INT64, value)
        case float():
            return struct.pack("<If", FLOAT32, value)
        case str():
            return struct.pack("<I", STRING) + _text(value)
        case _:
            return struct.pack("<I", ARRAY) + _array(value)


def _array(values: Sequence[bool] | Sequence[int] | Sequence[float] | Sequence[str]) -> bytes:
    first = values[0] if values else 0
    if isinstance(first, str):
        return struct.pack("<IQ", STRING, len(values)) + b"".join(_text(str(value)) for value in values)
    kind = BOOL if isinstance(first, bool) else INT32 if isinstance(first, int) else FLOAT32
    return struct.pack("<IQ", kind, len(values)) + np.asarray(values, SCALARS[kind]).tobytes()
