"""LoRA adapters as PEFT keeps them, in and out: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from torch import Tensor, nn

from cutaway.model import ModelConfig, Transformer, safetensors_file
from cutaway.model.families import FAMILIES
from cutaway.model.huggingface import rules_of
from cutaway.model.unfilled import unfilled
from cutaway.model.weights import STACKED_TRANSPOSED, TRANSPOSED, Held, Layout
from cutaway.runs import BadInput, atomic
from cutaway.train.lora import Adapted, adapters, put_adapter, refuse_adapters

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TENSOR = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<matrix>[AB])\.weight")
EXPRESSION = re.compile(r"[*+?|$()\[\]{}]|\\[^.]")
INPUTS_FIRST = (TRANSPOSED, STACKED_TRANSPOSED)
"""Layouts of matrices whose adapters lie the usual way all the same (`fan_in_fan_out`)."""
TASKS = {"decoder": "CAUSAL_LM", "encoder": None, "encoder-decoder": "SEQ_2_SEQ_LM"}

BEYOND = {
    "use_dora": "DoRA's magnitudes",
    "modules_to_save": "whole layers beside the adapters (modules_to_save)",
    "trainable_token_indices": "tokens trained beside the adapters",
    "target_parameters": "adapters of bare parameters",
    "lora_bias": "biases in its adapters",
    "use_qalora": "QALoRA's pooled inputs",
    "use_bdlora": "block-diagonal adapters",
    "alora_invocation_tokens": "adapters that begin at an invocation (aLoRA)",
    "arrow_config": "a router among adapters (Arrow)",
    "kasa_config": "KaSA's singular values",
    "monteclora_config": "adapters drawn at random (MonteCLoRA)",
    "layer_replication": "blocks that are used several times",
}
"""Keys that ask for more than plain LoRA, and what for."""
LEAVE_THE_BASE = (True, False, "gaussian", "eva", "orthogonal", "mica")
"""Values of `init_lora_weights` after which the adapters belong to the model as it was; others change its matrices."""


@dataclass(frozen=True)
class Layer:
    """One of their layers: the modules of ours whose weights its weight holds, and how."""

    ours: tuple[str, ...]
    layout: Layout


@dataclass(frozen=True)
class LowRank:
    """An adapter of one of their matrices, or of ours: `a` `[rank, in]`, `b` `[out, rank]`, and its alpha."""

    a: Tensor
    b: Tensor
    alpha: float


class AdapterConfig(BaseModel):
    """What is read of an `adapter_config.json`; other keys are kept beside."""

    model_config = ConfigDict(extra="allow")

    peft_type: str
    lora_alpha: FiniteFloat = 8.0
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    use_rslora: bool = False
    alpha_pattern: dict[str, FiniteFloat] | None = None
    bias: str = "none"
    init_lora_weights: bool | str = True

    def alpha(self, layer: str) -> float:
        """The alpha of one of their layers: that of the first pattern which is the end of its name, or the usual."""
        for pattern, alpha in (self.alpha_pattern or {}).items():
            ending = pattern.replace("\\.", ".")
            if layer == ending.removeprefix("^") or f".{layer}".endswith(f".{ending}"):
                return alpha
        return self.lora_alpha


def save_adapter(model: Transformer, directory: Path, base_reference: str) -> None:
    """Write a model's adapters so that `peft.PeftModel.from_pretrained` puts them on the same model in `transformers`.

    `base_reference` is the model that they belong to: a directory or a name. A matrix of theirs in which several of
    ours lie gets one adapter, of the sum of their ranks. What was in `directory` is replaced.

    Raises:
        BadInput: the model has no adapters; or has some in a dense block among others that are mixtures of experts.
        CutawayError: the disk is full.
    """
    rules = matrices(model.config)
    bare = FAMILIES[model.config.family].prefix if model.config.head in ("pooler", "none") else ""
    found = {name.removeprefix(bare): joined(model, held) for name, held in rules.items() if is_adapted(model, held)}
    if not found:
        raise BadInput("the model has no LoRA adapters to save; add some first")
    if model.config.experts and any(".mlp." in name for name in adapters(model)):
        raise BadInput(
            "PEFT takes every MLP of a mixture of experts for experts, so adapters of its dense blocks' MLPs cannot be "
            "saved for it; merge them, or train with the targets q, k, v, o"
        )
    first = next(iter(adapters(model).values()))
    usual, patterns = ranks_and_alphas(found)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": TASKS[model.config.kind],
        "base_model_name_or_path": base_reference,
        "inference_mode": True,
        **usual,
        "lora_dropout": first.lora_dropout,
        "use_rslora": first.rslora,
        "target_modules": endings(found, [name.removeprefix(bare) for name in rules]),
        **patterns,
        "fan_in_fan_out": any(held.layout in INPUTS_FIRST for held in rules.values()),
        "bias": "none",
        "modules_to_save": None,
        "init_lora_weights": True,
    }
    halves = {
        f"base_model.model.{name}.lora_{half}.weight": tensor
        for name, adapter in found.items()
        for half, tensor in (("A", adapter.a), ("B", adapter.b))
    }
    tensors = {name: (half.dtype, tuple(half.shape), lambda half=half: half) for name, half in halves.items()}
    with atomic.directory(directory) as new:
        safetensors_file.write(new / WEIGHTS, tensors)
        atomic.write_json(new / CONFIG, config)


def load_adapter(model: Transformer, directory: Path) -> None:
    """Freeze a model and put the adapters beside its matrices that PEFT, or `save_adapter`, wrote for it.

    An adapter of a matrix in which several of ours lie becomes one for each of these, with the same A. Nothing but the
    adapters requires a gradient afterwards.

    Raises:
        BadInput: the model has adapters already; a file is absent, damaged or a pickle; it holds more than plain LoRA
            of linear layers; or a layer or shape is not this model's. The model is then as it was.
    """
    refuse_adapters(model)
    config = read_config(directory)
    rules, prefix = matrices(model.config), FAMILIES[model.config.family].prefix
    found: dict[str, LowRank] = {}
    for layer, (a, b) in read_pairs(directory).items():
        held = rules.get(layer) or rules.get(prefix + layer)
        ours = [model.get_submodule(name) for name in held.ours] if held else []
        if not held or not ours or not all(isinstance(module, nn.Linear) for module in ours):
            raise BadInput(
                f"{directory} adapts {layer}, which is no linear layer of this {model.config.family} on its own; "
                "name the model that the adapter was trained on"
            )
        found |= divided(model, held, LowRank(a, b, config.alpha(layer)), f"{layer} in {directory}")
    model.requires_grad_(False)
    for name, adapter in found.items():
        put = put_adapter(
            model, name, len(adapter.a), adapter.alpha, dropout=config.lora_dropout, rslora=config.use_rslora
        )
        put.lora_A.data.copy_(adapter.a)
        put.lora_B.data.copy_(adapter.b)


def matrices(config: ModelConfig) -> dict[str, Layer]:
    """Their layers, by their names in a model with a head; an expert, which is no module of ours, holds none."""

    def modules(held: Held) -> tuple[str, ...]:
        return tuple(key.removesuffix(".weight") for key, _ in held.ours if key.endswith(".weight"))

    rules = rules_of(unfilled(config, torch.float32))
    return {name.removesuffix(".weight"): Layer(modules(held), held.layout) for name, held in rules.items()}


def is_adapted(model: Transformer, held: Layer) -> bool:
    """Whether any module of ours that one of their layers holds has an adapter."""
    return any(isinstance(model.get_submodule(name), Adapted) for name in held.ours)


def joined(model: Transformer, held: Layer) -> LowRank:
    """The adapter of one of their matrices, made of those of the matrices of ours that it holds.

    A is all of theirs one below the other, and B is divided into blocks, so that each of our matrices gets what its own
    A makes of the input. Where they share one A, as after `load_adapter`, it is taken once.
    """
    layers = [cast("nn.Linear | Adapted", model.get_submodule(name)) for name in held.ours]
    own = [layer for layer in layers if isinstance(layer, Adapted)]
    first = own[0]
    if len(own) == len(layers) and all(torch.equal(first.lora_A, layer.lora_A) for layer in own):
        a, rows = first.lora_A, [layer.lora_B for layer in own]
    else:
        a = torch.cat([layer.lora_A for layer in own])
        # A matrix without an adapter has rows, and no columns.
        blocks = [layer.lora_B if isinstance(layer, Adapted) else a.new_zeros(len(layer.weight), 0) for layer in layers]
        rows = torch.block_diag(*blocks).split([len(block) for block in blocks])
    b = held.layout.join([row.detach() for row in rows])
    growth = len(a) / len(first.lora_A)
    alpha = first.alpha * (growth**0.5 if first.rslora else growth)
    return LowRank(a.detach(), b.T if held.layout in INPUTS_FIRST else b, alpha)


def divided(model: Transformer, held: Layer, adapter: LowRank, what: str) -> dict[str, LowRank]:
    """The adapters of our matrices that the adapter of one of theirs comes to.

    Raises `BadInput` about `what` if it is of another shape than the matrix.
    """
    shapes = [cast("nn.Linear", model.get_submodule(name)).weight.shape for name in held.ours]
    a, b, rank = adapter.a, adapter.b, adapter.a.shape[0] if adapter.a.dim() else 0
    for matrix, tensor, wanted in (("A", a, [rank, shapes[0][1]]), ("B", b, [sum(rows for rows, _ in shapes), rank])):
        if list(tensor.shape) != wanted or not rank:
            raise BadInput(
                f"lora_{matrix} of {what} has shape {list(tensor.shape)}, but this model asks for {wanted}; "
                "name the model that the adapter was trained on"
            )
    b = b.T if held.layout in INPUTS_FIRST else b
    parts = held.layout.split(b, [torch.Size((rows, rank)) for rows, _ in shapes])
    return {name: LowRank(a, part, adapter.alpha) for name, part in zip(held.ours, parts, strict=True)}


def ranks_and_alphas(found: Mapping[str, LowRank]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`r` and `lora_alpha` of most layers, and the patterns that say which have others."""
    by_kind: dict[tuple[int, float], list[str]] = {}
    for name, adapter in found.items():
        by_kind.setdefault((len(adapter.a), whole(adapter.alpha)), []).append(name)
    rank, alpha = max(by_kind, key=lambda kind: len(by_kind[kind]))
    patterns: dict[str, dict[str, float]] = {"rank_pattern": {}, "alpha_pattern": {}}
    for (other_rank, other_alpha), names in by_kind.items():
        for ending in endings(names, found):
            if other_rank != rank:
                patterns["rank_pattern"][ending] = other_rank
            if other_alpha != alpha:
                patterns["alpha_pattern"][ending] = other_alpha
    return {"r": rank, "lora_alpha": alpha}, patterns


def whole(alpha: float) -> float:
    """An alpha as the integer that it is, if it is one, since PEFT writes them so."""
    return int(alpha) if alpha == int(alpha) else alpha


def endings(chosen: Collection[str], among: Collection[str]) -> list[str]:
    """The shortest ends of names, divided at their dots, that fit all the `chosen` ones and no others `among` all."""
    others = [f".{name}" for name in among if name not in chosen]
    found: dict[str, None] = {}
    for name in chosen:
        parts = name.split(".")
        ends = (".".join(parts[start:]) for start in reversed(range(len(parts))))
        found[next(end for end in ends if not any(other.endswith(f".{end}") for other in others))] = None
    return list(found)


def read_config(directory: Path) -> AdapterConfig:
    """What a directory says of its adapters. Raises `BadInput` if they are not plain LoRA."""
    path = directory / CONFIG
    try:
        config = AdapterConfig.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise BadInput(f"{directory} has no {CONFIG}; name a directory that PEFT saved an adapter to") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise BadInput(f"{path} is not an adapter's configuration ({where}: {first['msg']})") from None
    more = [what for key, what in BEYOND.items() if (config.model_extra or {}).get(key)]
    if config.peft_type != "LORA":
        more.insert(0, f"adapters of type {config.peft_type}")
    if config.bias != "none":
        more.append("biases trained beside the adapters")
    if config.init_lora_weights not in LEAVE_THE_BASE:
        more.append(f"adapters to matrices that {config.init_lora_weights} has changed")
    # PEFT reads these as regular expressions; but a file is data, and names say all that one needs to say.
    if any(EXPRESSION.search(pattern) for pattern in config.alpha_pattern or {}):
        more.append("alphas by regular expressions (alpha_pattern)")
    if more:
        raise BadInput(f"{path} describes {more[0]}; only plain LoRA can be opened: merge it with PEFT, then open that")
    return config


def read_pairs(directory: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each of their layers that a directory adapts. Raises `BadInput` for anything else in its file."""
    path = directory / WEIGHTS
    if not path.is_file():
        pickled = (directory / "adapter_model.bin").exists()
        why = "only a pickle, which can run code when opened" if pickled else "it is no adapter's directory"
        raise BadInput(f"{directory} has no {WEIGHTS} ({why}); save the adapter with PEFT as safetensors")
    found: dict[str, dict[str, Tensor]] = {}
    with open(path, "rb") as file:
        for name, entry in safetensors_file.read_header(path).items():
            fits = TENSOR.fullmatch(name)
            if not fits:
                raise BadInput(f"{path} has {name}, which is no A or B of a linear layer; only LoRA can be opened")
            found.setdefault(fits["layer"], {})[fits["matrix"]] = safetensors_file.read_tensor(file, name, entry)
    if not found:
        raise BadInput(f"{path} holds no adapters; save them with PEFT again")
    for layer, pair in found.items():
        if len(pair) < 2:
            raise BadInput(f"{path} has lora_{min(pair)} of {layer} without its other half; save the adapter again")
    return {layer: (pair["A"], pair["B"]) for layer, pair in found.items()}
