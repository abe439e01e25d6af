"""Hugging Face model directories, in and out: the Qwen3 architecture, so that other software opens our models."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import Transformer
from cutaway.runs.atomic import write_bytes, write_json
from cutaway.runs.errors import BadInput

OURS_TO_QWEN3 = {
    "embed": "model.embed_tokens",
    "unembed": "lm_head",
    "ln_final": "model.norm",
    "ln1": "input_layernorm",
    "ln2": "post_attention_layernorm",
    "attn.q": "self_attn.q_proj",
    "attn.k": "self_attn.k_proj",
    "attn.v": "self_attn.v_proj",
    "attn.o": "self_attn.o_proj",
    "attn.q_norm": "self_attn.q_norm",
    "attn.k_norm": "self_attn.k_norm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}


def qwen3_name(name: str) -> str:
    """Qwen3's name of one of our weights: `blocks.3.attn.q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    layer = re.fullmatch(r"blocks\.(\d+)\.(.+)\.weight", name)
    if layer:
        return f"model.layers.{layer[1]}.{OURS_TO_QWEN3[layer[2]]}.weight"
    return f"{OURS_TO_QWEN3[name.removesuffix('.weight')]}.weight"


def save_model(model: Transformer, directory: Path, *, end_of_text: int, stop_ids: list[int]) -> None:
    """Write `config.json`, `generation_config.json` and `model.safetensors` (float32) into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    write_bytes(directory / "model.safetensors", save(qwen3_tensors(model), metadata={"format": "pt"}))
    write_json(directory / "config.json", qwen3_config(model.config, end_of_text))
    generation = {
        "bos_token_id": end_of_text,
        "eos_token_id": stop_ids,
        "pad_token_id": end_of_text,
        "do_sample": False,
    }
    write_json(directory / "generation_config.json", generation)


def load_model(directory: Path) -> Transformer:
    """Open a Hugging Face directory of the Qwen3 architecture.

    Raises `BadInput` naming the file or tensor that is absent, damaged, of another shape or of another architecture.
    """
    config = read_config(directory)
    try:
        tensors = load_file(directory / "model.safetensors")
    except FileNotFoundError:
        raise BadInput(f"{directory} has no model.safetensors; is it a model directory?") from None
    except SafetensorError as error:
        raise BadInput(f"{directory / 'model.safetensors'} is damaged ({error}); restore or train it again") from None
    with torch.device("meta"):
        model = Transformer(config)
    wanted = {qwen3_name(name): (name, weight) for name, weight in model.state_dict().items()}
    if config.tied_embeddings:
        tensors.setdefault("lm_head.weight", tensors.get("model.embed_tokens.weight", torch.empty(0)))
    for name in sorted(wanted.keys() ^ tensors.keys()):
        problem = "lacks" if name in wanted else "has an unknown"
        raise BadInput(
            f"{directory / 'model.safetensors'} {problem} tensor {name}; config.json describes another model"
        )
    for name, (_, weight) in wanted.items():
        if tensors[name].shape != weight.shape:
            raise BadInput(
                f"tensor {name} in {directory / 'model.safetensors'} has shape {list(tensors[name].shape)}, "
                f"but config.json asks for {list(weight.shape)}"
            )
    state = {ours: tensors[theirs].float() for theirs, (ours, _) in wanted.items()}
    model.load_state_dict(state, assign=True)
    if config.tied_embeddings:
        model.unembed.weight = model.embed.weight
    return model.requires_grad_(False).eval()


def read_config(directory: Path) -> ModelConfig:
    """The shape that a directory's `config.json` describes."""
    try:
        settings: dict[str, Any] = json.loads((directory / "config.json").read_text("utf-8"))
        architecture = settings["architectures"][0]
        if architecture != "Qwen3ForCausalLM":
            raise BadInput(
                f"{directory / 'config.json'} describes a {architecture}; only Qwen3ForCausalLM can be opened"
            )
        rope = settings.get("rope_parameters") or settings
        config = ModelConfig(
            vocab_size=settings["vocab_size"],
            n_layers=settings["num_hidden_layers"],
            d_model=settings["hidden_size"],
            n_heads=settings["num_attention_heads"],
            n_kv_heads=settings["num_key_value_heads"],
            d_head=settings["head_dim"],
            d_mlp=settings["intermediate_size"],
            context=settings["max_position_embeddings"],
            rope_theta=rope["rope_theta"],
            norm_eps=settings["rms_norm_eps"],
            tied_embeddings=settings["tie_word_embeddings"],
        )
        if not all(isinstance(value, int | float) and value > 0 for value in list(asdict(config).values())[:-1]):
            raise ValueError(f"a size is not a positive number: {config}")
        return config
    except FileNotFoundError:
        raise BadInput(f"{directory} has no config.json; name a run or a Hugging Face model directory") from None
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise BadInput(f"{directory / 'config.json'} is not a model's configuration ({error!r})") from None


def qwen3_tensors(model: Transformer) -> dict[str, Tensor]:
    """The weights under Qwen3's names; a tied output matrix is left out, as `transformers` does."""
    state = {qwen3_name(name): weight.detach().float().contiguous() for name, weight in model.state_dict().items()}
    if model.config.tied_embeddings:
        del state["lm_head.weight"]
    return state


def qwen3_config(config: ModelConfig, end_of_text: int) -> dict[str, Any]:
    """`config.json` for `transformers`' Qwen3ForCausalLM."""
    ours = asdict(config)
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": ours["vocab_size"],
        "hidden_size": ours["d_model"],
        "intermediate_size": ours["d_mlp"],
        "num_hidden_layers": ours["n_layers"],
        "num_attention_heads": ours["n_heads"],
        "num_key_value_heads": ours["n_kv_heads"],
        "head_dim": ours["d_head"],
        "hidden_act": "silu",
        "max_position_embeddings": ours["context"],
        "rms_norm_eps": ours["norm_eps"],
        "rope_theta": ours["rope_theta"],
        "tie_word_embeddings": ours["tied_embeddings"],
        "attention_bias": False,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "torch_dtype": "float32",
        "use_cache": True,
    }
