"""Tensors of a GGUF file, read and written a few rows at a time, so that no second copy of the weights is ever held.

Quantised kinds store a row as blocks of 32 or 256 numbers, each with a scale of its own; the `gguf` library knows how.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import torch
from torch import Tensor

from cutaway.model.safetensors_file import raw
from cutaway.runs.atomic import write_chunks
from cutaway.runs.errors import BadInput
from cutaway.tokens.gguf_header import Header, Metadata, Stored, header_bytes, padding, read_header

PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
QUANTISED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
Kind = Literal["F32", "F16", "BF16", "Q8_0", "Q4_0"]
"""What can be written."""
PIECE = 2**19
"""Numbers that are read or written at once."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its kind, its shape (outermost first), and where its bytes begin and end."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_entries(path: Path) -> tuple[dict[str, Any], dict[str, Entry]]:
    """A file's metadata, but for its vocabulary, and its tensors.

    Raises `BadInput` naming the tensor that cannot be as the header says.
    """
    header = read_header(path, vocabulary=False)
    parts = header.metadata.get("split.count", 1)
    if parts not in (0, 1):
        raise BadInput(f"{path} is one of {parts} parts of a model; join them with llama.cpp's gguf-split")
    entries = {name: _entry(path, name, stored) for name, stored in header.tensors.items()}
    _must_lie_end_to_end(path, header, entries)
    return header.metadata, entries


def _entry(path: Path, name: str, stored: Stored) -> Entry:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    known = {kind.value: kind.name for kind in GGMLQuantizationType}
    kind = known.get(stored.kind, f"number {stored.kind}")
    if kind not in PLAIN and kind not in QUANTISED:
        raise BadInput(f"{path}: tensor {name} is of the kind {kind}; {', '.join((*PLAIN, *QUANTISED))} can be read")
    numbers, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    if stored.shape[-1] % numbers:
        raise BadInput(f"{path}: tensor {name} of kind {kind} has rows of {stored.shape[-1]}; the header lies")
    return Entry(kind, stored.shape, stored.begin, stored.begin + math.prod(stored.shape) // numbers * size)


def _must_lie_end_to_end(path: Path, header: Header, entries: Mapping[str, Entry]) -> None:
    if not entries:
        raise BadInput(f"{path} holds no tensors; get the model again")
    ordered = sorted(entries.items(), key=lambda item: item[1].begin)
    for name, entry in ordered:
        if entry.end > header.size:
            raise BadInput(f"{path} is cut short inside tensor {name}; get the model again")
    for (_, before), (name, entry) in itertools.pairwise(ordered):
        if entry.begin != before.end + -(before.end - ordered[0][1].begin) % header.alignment:
            raise BadInput(f"{path}: tensor {name} does not begin where the one before it ends; the header lies")
    if header.size - ordered[-1][1].end >= header.alignment:
        left = header.size - ordered[-1][1].end
        raise BadInput(f"{path} goes on for {left} bytes after its last tensor; the header lies")


def read_rows(file: BinaryIO, name: str, entry: Entry) -> Iterator[tuple[int, Tensor]]:
    """A tensor as `[row, column]`, in pieces: the number of the first row, and the rows. Raises `BadInput`."""
    columns = entry.shape[-1]
    rows = math.prod(entry.shape[:-1])
    row_bytes = (entry.end - entry.begin) // rows
    step = max(1, PIECE // columns)
    buffer = bytearray(min(step, rows) * row_bytes)
    file.seek(entry.begin)
    for start in range(0, rows, step):
        n = min(step, rows - start)
        view = memoryview(buffer)[: n * row_bytes]
        if cast("Any", file).readinto(view) != len(view):
            raise BadInput(f"{file.name} is cut short inside tensor {name}; get the model again")
        yield start, _numbers(view, entry.kind, n)


def _numbers(data: memoryview, kind: str, rows: int) -> Tensor:
    if kind in PLAIN:
        return torch.frombuffer(data, dtype=PLAIN[kind]).view(rows, -1)
    from gguf import quants
    from gguf.constants import GGMLQuantizationType

    blocks = np.frombuffer(data, np.uint8).reshape(rows, -1)
    return torch.from_numpy(quants.dequantize(blocks, GGMLQuantizationType[kind]))


def read_tensor(file: BinaryIO, name: str, entry: Entry) -> Tensor:
    """A whole tensor, float32. Raises `BadInput` if the file has become shorter."""
    tensor = torch.empty(math.prod(entry.shape[:-1]), entry.shape[-1])
    for start, rows in read_rows(file, name, entry):
        tensor[start : start + len(rows)] = rows
    return tensor.view(entry.shape)


@dataclass(frozen=True)
class Written:
    """A tensor to write: its kind, its shape, and a function that makes it when its turn comes."""

    kind: Kind
    shape: tuple[int, ...]
    make: Callable[[], Tensor]

    @property
    def size(self) -> int:
        """Bytes in the file."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        numbers, size = GGML_QUANT_SIZES[GGMLQuantizationType[self.kind]]
        return math.prod(self.shape) // numbers * size


def write(path: Path, metadata: Metadata, tensors: Mapping[str, Written]) -> None:
    """Write a file atomically. Raises `BadInput` naming a tensor with numbers that its kind cannot hold."""
    from gguf.constants import GGMLQuantizationType

    header = header_bytes(
        metadata, {name: (GGMLQuantizationType[t.kind].value, t.shape, t.size) for name, t in tensors.items()}
    )

    def chunks() -> Iterable[bytes | memoryview]:
        yield header
        for name, tensor in tensors.items():
            yield from _bytes(name, tensor)
            yield bytes(padding(tensor.size))

    write_chunks(path, chunks())


def _bytes(name: str, written: Written) -> Iterator[memoryview]:
    from gguf import quants
    from gguf.constants import GGMLQuantizationType

    whole = written.make().detach().to("cpu").reshape(-1, written.shape[-1])
    for rows in whole.split(max(1, PIECE // written.shape[-1])):
        if written.kind in PLAIN:
            stored = rows.to(PLAIN[written.kind]).contiguous()
            if written.kind == "F16" and not torch.equal(stored.isfinite(), rows.isfinite()):
                raise BadInput(f"tensor {name} has numbers too large for f16; write bf16 or q8_0")
            yield raw(stored)
        else:
            blocks = quants.quantize(rows.float().contiguous().numpy(), GGMLQuantizationType[written.kind])
            yield memoryview(cast("Any", blocks.reshape(-1)))
