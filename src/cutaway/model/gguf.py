"""GGUF, the format of llama.cpp: a decoder in one file, its weights often quantised; in and out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal

import torch
from torch import Tensor

from cutaway.model import gguf_file
from cutaway.model.config import ModelConfig
from cutaway.model.families import Unsupported
from cutaway.model.gguf_config import must_say, read_config, write_config
from cutaway.model.gguf_facts import ARCHITECTURES, Facts, deepest_block
from cutaway.model.gguf_file import Entry, Kind, Written
from cutaway.model.gguf_names import FUSED, names
from cutaway.model.gguf_rope import FACTORS
from cutaway.model.transformer import Transformer
from cutaway.model.unfilled import unfilled, with_memory
from cutaway.model.weights import AS_IT_IS, STACKED, Held, fill, holdings, must_match, own_tensors, parts_of, shape_of
from cutaway.runs.errors import BadInput
from cutaway.tokens.gguf_header import Metadata, Value

GGUFKind = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
FILE_TYPES: dict[GGUFKind, tuple[Kind, int]] = {
    "f32": ("F32", 0),
    "f16": ("F16", 1),
    "q4_0": ("Q4_0", 2),
    "q8_0": ("Q8_0", 7),
    "bf16": ("BF16", 32),
}
"""The kind of most tensors, and llama.cpp's number of such a file."""
ALWAYS_WHOLE = ("ffn_gate_inp.weight", "position_embd.weight", "norm.weight")
"""Endings of matrices and vectors that llama.cpp reads as float32 only."""
BLOCK = 32
"""Numbers that one scale of Q8_0 and Q4_0 is for."""
NO_VOCABULARY: Metadata = {"tokenizer.ggml.model": "none"}
CLAIMS = re.compile("phi-?3|jina-v|modern-bert", re.IGNORECASE)
"""Names for which llama.cpp looks for tokens of that model's own vocabulary, and fails where it has another."""
LARGEST_SIZE = 2**31
BUILT = sorted(set(ARCHITECTURES.values()))
ALWAYS_UNTIED = ("gptneox", "olmo2")
"""Architectures whose files must hold an output matrix, though it be the input's."""


def load_gguf(path: Path, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """Open a GGUF file, its weights as `dtype` whatever kind they are stored as.

    They are read a few rows at a time into the model's own, so nothing but the weights takes memory.

    Raises:
        BadInput: naming what is not built, or the tensor that is absent, damaged, of another shape or not known.
    """
    facts, entries = _read(path)
    config = _config(path, facts)
    model = _empty(path, config, dtype)
    rules = _rules(model, facts.architecture, fused=facts.has("attn_qkv.weight"))
    shapes = {name: entry.shape for name, entry in entries.items()}
    must_match(path, "its metadata", rules, shapes, own_tensors(model), beside=facts.factors)
    with_memory(model)
    ours = own_tensors(model)
    with open(path, "rb") as file:
        for name, held in rules.items():
            _fill(file, name, entries[name], held, ours)
    return model.requires_grad_(False).eval()


def read_gguf_config(path: Path) -> ModelConfig:
    """The shape that a file describes; its `family` is that of the directory it could be written as. Raises `BadInput`.

    Mistral's files cannot be told from Llama's.
    """
    facts, _ = _read(path)
    return _config(path, facts)


def save_gguf(
    model: Transformer,
    path: Path,
    *,
    kind: GGUFKind = "f16",
    vocabulary: Metadata | None = None,
    name: str | None = None,
) -> None:
    """Write a decoder as llama.cpp reads it.

    `vocabulary` is what `cutaway.tokens.gguf_vocabulary.vocabulary_metadata` gives; without one, the file can only be
    run on token ids. Norms, biases, routers and learned positions stay float32; with `q4_0`, input and output embedding
    are `q8_0`; rows that are no multiple of 32 long stay `f16`.

    Raises:
        BadInput: naming what of the model a GGUF file cannot say, or the tensor with a number that `kind` cannot hold.
    """
    config = model.config
    if config.family not in ARCHITECTURES:
        raise BadInput(f"a {config.family} cannot be written as GGUF ({', '.join(ARCHITECTURES)} can); write --to hf")
    try:
        described, factors = write_config(config)
        architecture = ARCHITECTURES[config.family]
        tensors = _tensors(model, architecture, kind) | {
            key: Written("F32", (len(values),), lambda values=values: torch.tensor(values, dtype=torch.float32))
            for key, values in factors.items()
        }
        metadata: dict[str, Value] = {
            "general.architecture": architecture,
            "general.type": "model",
            **({"general.name": name} if name and not CLAIMS.search(name) else {}),
            "general.file_type": FILE_TYPES[kind][1],
            "general.quantization_version": 2,
            **described,
            **(vocabulary or NO_VOCABULARY),
        }
        said = read_config(Facts(metadata, {key: tensor.shape for key, tensor in tensors.items()}, factors))
        if architecture in ALWAYS_UNTIED:
            said = replace(said, tied_embeddings=config.tied_embeddings)
        must_say(config, said)
    except Unsupported as error:
        raise BadInput(f"a GGUF file cannot say {error}, as this model has it; write --to hf") from None
    gguf_file.write(path, metadata, tensors)


def _read(path: Path) -> tuple[Facts, dict[str, Entry]]:
    metadata, entries = gguf_file.read_entries(path)
    shapes = {name: entry.shape for name, entry in entries.items()}
    facts = Facts(metadata, shapes, {})
    try:
        wanted = FACTORS.get(facts.architecture, ())
        n_layers = facts.whole("block_count")
    except Unsupported as error:
        raise BadInput(
            f"{path} asks for {error}, which cannot be opened; those that can are {', '.join(BUILT)}"
        ) from None
    except KeyError as error:
        raise BadInput(f"{path} does not say {error.args[0]}; get the model again") from None
    # Before anything is as long as the number of layers that a header claims.
    last = deepest_block(shapes)
    if last >= n_layers:
        odd = next(name for name in shapes if name.startswith(f"blk.{last}."))
        raise BadInput(f"{path} has an unknown tensor {odd}, but says that it has {n_layers} blocks; the header lies")
    if last + 1 < n_layers:
        lost = f"blk.{last + 1}.ffn_down.weight"
        raise BadInput(f"{path} lacks tensor {lost}, but says that it has {n_layers} blocks; the header lies")
    if "token_embd.weight" not in entries:
        raise BadInput(f"{path} lacks tensor token_embd.weight; get the model again")
    with open(path, "rb") as file:
        factors = {
            # The shortest numbers that are these, as in the header.
            name: [float(str(x)) for x in gguf_file.read_tensor(file, name, entries[name]).numpy()]
            for name in wanted
            if name in entries and len(entries[name].shape) == 1
        }
    return Facts(metadata, shapes, factors), entries


def _config(path: Path, facts: Facts) -> ModelConfig:
    try:
        config = read_config(facts)
    except Unsupported as error:
        raise BadInput(f"{path} asks for {error}, which cannot be opened") from None
    except KeyError as error:
        raise BadInput(f"{path} does not say {error.args[0]}; get the model again") from None
    except (TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError) as error:
        raise BadInput(f"{path} is not a model's description ({error!r}); get the model again") from None
    for name in ("vocab_size", "d_model", "n_heads", "n_kv_heads", "d_head", "d_mlp", "context"):
        if not 0 < getattr(config, name) < LARGEST_SIZE:
            raise BadInput(f"{path} says that {name} is {getattr(config, name)}; the header lies")
    if config.norm_eps <= 0 or config.rope_theta <= 0 or (config.sparsity and config.sparsity.width <= 0):
        raise BadInput(f"{path} gives a norm's epsilon, rope.freq_base or a window below zero; the header lies")
    if config.n_heads % config.n_kv_heads:
        raise BadInput(f"{path}: {config.n_heads} heads cannot share {config.n_kv_heads} key and value heads evenly")
    if config.experts and not 0 < config.experts.per_token <= config.experts.n:
        raise BadInput(f"{path}: a token cannot go through {config.experts.per_token} of {config.experts.n} experts")
    scaling = config.rope_scaling
    if (
        scaling
        and scaling.kind == "longrope"
        and {len(scaling.short_factors), len(scaling.long_factors)} != {config.d_rotary // 2}
    ):
        raise BadInput(f"{path}: its factors of rotary frequencies are not {config.d_rotary // 2}; the header lies")
    return config


def _empty(path: Path, config: ModelConfig, dtype: torch.dtype) -> Transformer:
    """The model without weights, which as yet takes no memory."""
    try:
        return unfilled(config, dtype)
    except (RuntimeError, ValueError, TypeError):
        raise BadInput(f"{path} describes a model of impossible sizes; the header lies") from None


def _rules(model: Transformer, architecture: str, *, fused: bool) -> dict[str, Held]:
    experts = model.config.experts.n if model.config.experts else 0
    return holdings(names(architecture, model.config, fused=fused), own_tensors(model), experts)


def _fill(file: BinaryIO, name: str, entry: Entry, held: Held, ours: Mapping[str, Tensor]) -> None:
    """Copy one of their tensors into ours: by rows where they lie in the same order, else whole."""
    if len(entry.shape) == 1 or held.layout not in (AS_IT_IS, STACKED):
        fill(held, gguf_file.read_tensor(file, name, entry), ours)
        return
    parts = [part.reshape(-1, entry.shape[-1]) for part in parts_of(held, ours)]
    begins = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0).tolist()
    for start, rows in gguf_file.read_rows(file, name, entry):
        for part, begin in zip(parts, begins, strict=False):
            first, last = max(start, begin), min(start + len(rows), begin + len(part))
            if first < last:
                part[first - begin : last - begin].copy_(rows[first - start : last - start])


def _tensors(model: Transformer, architecture: str, kind: GGUFKind) -> dict[str, Written]:
    """What to write of a model, by llama.cpp's names."""
    ours = own_tensors(model)
    tensors: dict[str, Written] = {}
    for name, held in _rules(model, architecture, fused=architecture in FUSED).items():
        shape = tuple(shape_of(held, ours))

        def make(held: Held = held) -> Tensor:
            return held.layout.join(parts_of(held, ours))

        tensors[name] = Written(_kind(name, shape, kind), shape, make)
    if architecture in ALWAYS_UNTIED and "output.weight" not in tensors:
        tensors["output.weight"] = tensors["token_embd.weight"]
    return tensors


def _kind(name: str, shape: tuple[int, ...], kind: GGUFKind) -> Kind:
    if len(shape) == 1 or name.endswith(ALWAYS_WHOLE):
        return "F32"
    if kind in ("q8_0", "q4_0") and shape[-1] % BLOCK:
        return "F16"
    if kind == "q4_0" and name in ("token_embd.weight", "output.weight"):
        return "Q8_0"
    return FILE_TYPES[kind][0]
