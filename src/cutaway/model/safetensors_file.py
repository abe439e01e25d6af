"""The safetensors format, read and written a tensor at a time, so that no second copy of the weights is ever held.

A file is eight bytes with the length of a JSON header, the header (each tensor's type, shape and place), and the bytes.
The library of that name maps a whole file into memory, or wants all tensors at once to write it; and when a file is
damaged it does not say which tensor.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from cutaway.runs.atomic import write_chunks
from cutaway.runs.errors import BadInput

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its type, shape, and where its bytes begin and end, counted from the file's start."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors that a file holds, by name. Raises `BadInput` naming the tensor that cannot be as the header says."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if length > min(LONGEST_HEADER, size - 8) or length < 2:
            pickled = start[:2] == b"PK" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05")
            what = "a pickle, which can run code when opened" if pickled else "no safetensors"
            raise BadInput(f"{path} is {what}, or is cut short; get the model again, as safetensors")
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        entries = {name: _entry(name, entry, 8 + length) for name, entry in header.items()}
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadInput(f"{path} has a header that cannot be read; get the model again") from None
    end = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != end:
            raise BadInput(f"{path}: tensor {name} does not begin where the one before it ends; the header lies")
        if entry.end > size:
            raise BadInput(f"{path} is cut short inside tensor {name}; get the model again")
        end = entry.end
    if end != size:
        raise BadInput(f"{path} goes on for {size - end} bytes after its last tensor; the header lies")
    return entries


def _entry(name: str, entry: Mapping[str, Any], start: int) -> Entry:
    if entry["dtype"] not in DTYPES:
        raise BadInput(f"tensor {name} is of type {entry['dtype']}, which is not known")
    dtype, shape = DTYPES[entry["dtype"]], tuple(cast("list[int]", entry["shape"]))
    begin, end = entry["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise BadInput(f"tensor {name} has a shape or place that is not of whole numbers")
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise BadInput(
            f"tensor {name} of shape {list(shape)} takes {math.prod(shape) * dtype.itemsize} bytes, "
            f"but its place has {end - begin}; the header lies"
        )
    return Entry(dtype, shape, start + begin, start + end)


def read_tensor(file: BinaryIO, name: str, entry: Entry) -> Tensor:
    """One tensor. Raises `BadInput` if the file has become shorter."""
    tensor = torch.empty(entry.shape, dtype=entry.dtype)
    if tensor.numel():
        file.seek(entry.begin)
        read = cast("Any", file).readinto(raw(tensor))
        if read != entry.end - entry.begin:
            raise BadInput(f"{file.name} is cut short inside tensor {name}; get the model again")
    return tensor


def mapped_tensor(path: Path, entry: Entry) -> Tensor:
    """One tensor where it lies in the file, which writing to it does not change."""
    size = entry.end - entry.begin
    return (
        torch.from_file(str(path), shared=False, size=entry.end, dtype=torch.uint8)[-size:]
        .view(entry.dtype)
        .view(entry.shape)
    )


def raw(tensor: Tensor) -> memoryview:
    """A contiguous tensor's bytes, not copied."""
    return memoryview(cast("Any", tensor.reshape(-1).view(torch.uint8).numpy()))


def write(path: Path, tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...], Callable[[], Tensor]]]) -> None:
    """Write a file atomically from each tensor's type, shape and a function that makes it when its turn comes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape, _) in tensors.items():
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight

    def chunks() -> Iterable[bytes | memoryview]:
        yield struct.pack("<Q", len(text)) + text
        for dtype, _, make in tensors.values():
            tensor = make().detach().to("cpu", dtype).contiguous()
            yield raw(tensor)

    write_chunks(path, chunks())
