"""What a family of models is: how its `config.json` is read and written, and what its tensors are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cutaway.model.config import Activation, Experts, ModelConfig, RopeScaling, Sparsity
from cutaway.model.weights import Names

Json = Mapping[str, Any]


class Unsupported(ValueError):
    """A configuration asks for something that the house does not build."""


@dataclass(frozen=True)
class Family:
    """One `model_type`.

    Attributes:
        name: `model_type` in config.json.
        architectures: class names by the kind of head they have, the usual one first.
        read: a shape from config.json; raises `KeyError`, `TypeError` or `ValueError` if that is no such configuration.
        write: config.json from a shape, without `model_type`, `architectures` and token ids.
        names: their names of our tensors, for the model with its head.
        prefix: what a directory of the model without its head leaves off its names.
        ignored: endings of tensors that old directories carry and nothing reads.
    """

    name: str
    architectures: Mapping[str, str]
    read: Callable[[Json], ModelConfig]
    write: Callable[[ModelConfig], dict[str, Any]]
    names: Callable[[ModelConfig], Names]
    prefix: str = ""
    ignored: tuple[str, ...] = ()


PLAIN: dict[str, Any] = {
    "norm": "layer",
    "norm_bias": True,
    "qk_norm": "none",
    "qkv_bias": True,
    "output_bias": True,
    "gated": False,
    "mlp_bias": True,
}
"""What the families before Llama have in common: LayerNorm, an MLP without a gate, and biases everywhere."""

ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
    "swish": "silu",
}


def activation(name: str) -> Activation:
    """Our name of an activation function. Raises `Unsupported`."""
    if name not in ACTIVATIONS:
        raise Unsupported(f"the activation {name}")
    return ACTIVATIONS[name]


def their_activation(ours: Activation) -> str:
    """Their name of one of ours."""
    return "gelu_pytorch_tanh" if ours == "gelu_tanh" else ours


def must_be(config: Json, **wanted: Any) -> None:
    """Raise `Unsupported` for a key whose value, where it is given, is another than the one that is built."""
    for key, value in wanted.items():
        if config.get(key) not in (None, value):
            raise Unsupported(f"{key} = {config[key]!r}")


def rope(config: Json, *, theta: float = 10_000.0) -> dict[str, Any]:
    """Our fields of the rotary positions, from the older keys (`rope_theta`, `rope_scaling`) or the newer one."""
    parameters = {"rope_theta": config.get("rope_theta", theta), **(config.get("rope_scaling") or {})}
    parameters |= config.get("rope_parameters") or {}
    share = parameters.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    scaling = rope_scaling(parameters, config)
    return {"rope_theta": float(parameters["rope_theta"]), "rope_scaling": scaling, "rotary_share": float(share)}


def rope_scaling(parameters: Json, config: Json) -> RopeScaling | None:
    """What `rope_scaling` or `rope_parameters` says. Raises `Unsupported`."""
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    original = parameters.get("original_max_position_embeddings", config.get("original_max_position_embeddings"))
    context = config.get("max_position_embeddings", 0)
    match kind:
        case "default":
            return None
        case "linear":
            return RopeScaling("linear", parameters["factor"])
        case "llama3":
            return RopeScaling(
                "llama3",
                parameters["factor"],
                parameters["original_max_position_embeddings"],
                low_frequency_factor=parameters["low_freq_factor"],
                high_frequency_factor=parameters["high_freq_factor"],
            )
        case "yarn":
            return RopeScaling(
                "yarn",
                parameters["factor"],
                original or context,
                beta_fast=parameters.get("beta_fast") or 32.0,
                beta_slow=parameters.get("beta_slow") or 1.0,
                attention_factor=parameters.get("attention_factor"),
            )
        case "longrope" | "su":
            return RopeScaling(
                "longrope",
                parameters.get("factor") or context / original,
                original,
                attention_factor=parameters.get("attention_factor"),
                short_factors=tuple(parameters["short_factor"]),
                long_factors=tuple(parameters["long_factor"]),
            )
        case _:
            raise Unsupported(f"rotary scaling of type {kind}")


def their_rope(config: ModelConfig) -> dict[str, Any]:
    """The keys that `rope` reads, the older ones, which newer software reads too."""
    keys: dict[str, Any] = {"rope_theta": config.rope_theta}
    if config.rotary_share != 1:
        keys["partial_rotary_factor"] = config.rotary_share
    if scaling := config.rope_scaling:
        keys["rope_scaling"] = their_scaling(scaling)
        if scaling.kind == "longrope":
            keys["original_max_position_embeddings"] = scaling.original_context
    return keys


def their_scaling(scaling: RopeScaling) -> dict[str, Any]:
    """`rope_scaling` for config.json."""
    keys: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.original_context:
        keys["original_max_position_embeddings"] = scaling.original_context
    if scaling.attention_factor is not None:
        keys["attention_factor"] = scaling.attention_factor
    match scaling.kind:
        case "llama3":
            keys |= {
                "low_freq_factor": scaling.low_frequency_factor,
                "high_freq_factor": scaling.high_frequency_factor,
            }
        case "yarn":
            keys |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        case "longrope":
            keys |= {"short_factor": list(scaling.short_factors), "long_factor": list(scaling.long_factors)}
        case "linear":
            pass
    return keys


def windows(config: Json, window: int | None) -> dict[str, Any]:
    """Our fields for the layers that `layer_types` says to have a window."""
    kinds = config.get("layer_types")
    if window is None or not kinds:
        return {}
    return {
        "sparsity": Sparsity("window", window),
        "local_layers": tuple(i for i, kind in enumerate(kinds) if kind == "sliding_attention"),
    }


def window_everywhere(config: Json) -> dict[str, Any]:
    """Our fields for `sliding_window`, where it holds for every layer."""
    window = config.get("sliding_window")
    return windows({"layer_types": ["sliding_attention"] * config["num_hidden_layers"]}, window or None)


def layer_types(config: ModelConfig) -> list[str]:
    """`layer_types` of config.json."""
    local = set(config.local_layers)
    return ["sliding_attention" if i in local else "full_attention" for i in range(config.n_layers)]


def experts_of(config: ModelConfig) -> Experts:
    """The mixture of experts that a family has. Raises `Unsupported` for a model of it without one."""
    if config.experts is None:
        raise Unsupported(f"a {config.family} without experts")
    return config.experts
