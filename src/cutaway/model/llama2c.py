"""The `.bin` of Karpathy's llama2.c: seven numbers, then every weight of a Llama as float32, one after the other."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Never, cast

import torch
from torch import Tensor

from cutaway.model.config import ModelConfig
from cutaway.model.gguf_names import paired
from cutaway.model.safetensors_file import raw
from cutaway.model.transformer import Transformer
from cutaway.model.unfilled import unfilled, with_memory
from cutaway.model.weights import AS_IT_IS, Layout, own_tensors
from cutaway.runs.errors import BadInput

HEADER = struct.Struct("<7i")
NEWER = b"24ka"
"""How files begin that say their version; the format without one is the only one that is read."""
MOST_LAYERS = 10_000


@dataclass(frozen=True)
class Place:
    """One tensor of a file: its name there, ours if we have it, its shape and layout, and where it begins."""

    name: str
    ours: str | None
    shape: tuple[int, ...]
    layout: Layout
    begin: int

    @property
    def end(self) -> int:
        """Where its bytes end."""
        return self.begin + 4 * math.prod(self.shape)


def load_llama2c(path: Path, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """Open a file, a tensor at a time.

    Raises:
        BadInput: naming the tensor that the file is too short for, or the number in the header that cannot be.
    """
    config = read_llama2c_config(path)
    size = path.stat().st_size
    end = HEADER.size
    places = list(_places(config))
    for place in places:
        end = place.end
        if end > size:
            raise BadInput(f"{path} is cut short inside tensor {place.name}; get the model again")
    if end != size:
        raise BadInput(f"{path} goes on for {size - end} bytes after its last tensor; the header lies")
    model = unfilled(config, dtype)
    with_memory(model)
    ours = own_tensors(model)
    with open(path, "rb") as file:
        for place in places:
            if place.ours:
                _fill(file, place, ours[place.ours])
    return model.requires_grad_(False).eval()


def read_llama2c_config(path: Path) -> ModelConfig:
    """The shape that a file's seven numbers give. Raises `BadInput`."""
    try:
        with open(path, "rb") as file:
            start = file.read(HEADER.size)
    except (FileNotFoundError, IsADirectoryError):
        raise BadInput(f"there is no file {path}") from None
    if start[:2] in (b"\x80\x02", b"PK"):
        _refuse(path, "is a pickle, which can run code when opened; get the model as safetensors or GGUF")
    if start[:4] == NEWER:
        _refuse(path, "is of a newer version of llama2.c's format; export it with --version 0")
    if len(start) < HEADER.size:
        _refuse(path, "is too short for a model of llama2.c")
    width, hidden, layers, heads, kv_heads, vocabulary, context = HEADER.unpack(start)
    numbers = {"dim": width, "hidden_dim": hidden, "n_layers": layers, "n_heads": heads, "n_kv_heads": kv_heads}
    numbers |= {"vocab_size": abs(vocabulary), "seq_len": context}
    for name, number in numbers.items():
        if number <= 0 or (name == "n_layers" and number > MOST_LAYERS):
            _refuse(path, f"is no model of llama2.c, or its header lies: {name} is {number}")
    if width % heads or heads % kv_heads or width // heads % 2:
        _refuse(path, f"is no model of llama2.c: {heads} heads of {kv_heads} kinds do not fit a width of {width}")
    return ModelConfig(
        vocab_size=abs(vocabulary),
        n_layers=layers,
        d_model=width,
        n_heads=heads,
        n_kv_heads=kv_heads,
        d_head=width // heads,
        d_mlp=hidden,
        context=context,
        norm_eps=1e-5,
        # A count below zero is its way to say that the output has a matrix of its own.
        tied_embeddings=vocabulary > 0,
        family="llama",
        qk_norm="none",
    )


def _refuse(path: Path, problem: str) -> Never:
    raise BadInput(f"{path} {problem}")


def _places(config: ModelConfig) -> Iterator[Place]:
    """The tensors of a file in their order: each matrix of all layers, then the next."""
    width, kv_width, hidden = config.d_model, config.n_kv_heads * config.d_head, config.d_mlp
    per_layer: list[tuple[str, str, tuple[int, ...], Layout]] = [
        ("attention_norm", "ln1", (width,), AS_IT_IS),
        ("attention.wq", "attn.q", (width, width), paired(config.n_heads)),
        ("attention.wk", "attn.k", (kv_width, width), paired(config.n_kv_heads)),
        ("attention.wv", "attn.v", (kv_width, width), AS_IT_IS),
        ("attention.wo", "attn.o", (width, width), AS_IT_IS),
        ("ffn_norm", "ln2", (width,), AS_IT_IS),
        ("feed_forward.w1", "mlp.gate", (hidden, width), AS_IT_IS),
        ("feed_forward.w2", "mlp.down", (width, hidden), AS_IT_IS),
        ("feed_forward.w3", "mlp.up", (hidden, width), AS_IT_IS),
    ]
    tensors: list[tuple[str, str | None, tuple[int, ...], Layout]] = [
        ("tok_embeddings.weight", "embed.weight", (config.vocab_size, width), AS_IT_IS)
    ]
    for theirs, ours, shape, layout in per_layer:
        tensors += [
            (f"layers.{i}.{theirs}.weight", f"blocks.{i}.{ours}.weight", shape, layout) for i in range(config.n_layers)
        ]
    tensors.append(("norm.weight", "ln_final.weight", (width,), AS_IT_IS))
    # Cosines and sines, which are worked out again.
    turns = (config.context, config.d_head // 2)
    tensors += [("freqs_cos", None, turns, AS_IT_IS), ("freqs_sin", None, turns, AS_IT_IS)]
    if not config.tied_embeddings:
        tensors.append(("output.weight", "unembed.weight", (config.vocab_size, width), AS_IT_IS))
    begin = HEADER.size
    for name, ours, shape, layout in tensors:
        place = Place(name, ours, shape, layout, begin)
        yield place
        begin = place.end


def _fill(file: BinaryIO, place: Place, ours: Tensor) -> None:
    """Read a tensor: as it is straight into ours, else whole and then in our order."""
    file.seek(place.begin)
    straight = place.layout is AS_IT_IS and ours.dtype == torch.float32
    theirs = ours if straight else torch.empty(place.shape)
    if cast("Any", file).readinto(raw(theirs)) != place.end - place.begin:
        raise BadInput(f"{file.name} is cut short inside tensor {place.name}; get the model again")
    if not straight:
        ours.copy_(place.layout.split(theirs, [ours.shape])[0])
