"""Hugging Face model directories, in and out, for every family."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from cutaway.model import safetensors_file
from cutaway.model.config import ModelConfig
from cutaway.model.families import FAMILIES, Family, Unsupported
from cutaway.model.safetensors_file import Entry
from cutaway.model.transformer import Transformer
from cutaway.model.unfilled import unfilled, with_memory
from cutaway.model.weights import AS_IT_IS, Held, fill, holdings, must_match, own_tensors, parts_of, shape_of
from cutaway.runs.atomic import write_json
from cutaway.runs.errors import BadInput
from cutaway.tokens.special import TOKEN_IDS, TokenIds

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MOST_LAYERS = 4096
MAPPED_FROM = 16 * 2**20
"""Bytes of a tensor from which it stays in its file until it is used."""
LARGEST_SHARD = 5 * 10**9
"""Bytes of a file of weights above which they are put into several."""


def load_model(directory: Path, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """Open a Hugging Face directory.

    A tensor that lies in the file as in the model stays there: its pages are read when they are first used, and belong
    to this process alone once it writes to them. The others are copied one at a time, so nothing but the weights takes
    memory.

    Raises:
        BadInput: naming the file or the tensor that is absent, damaged, of another shape or not known.
    """
    config = read_config(directory)
    files = weight_files(directory)
    model = unfilled(config, dtype)
    rules = rules_of(model)
    places = {name: (path, entry) for path in files for name, entry in safetensors_file.read_header(path).items()}
    places = _under_our_prefix(places, rules, FAMILIES[config.family], tied_name(model))
    shapes = {name: entry.shape for name, (_, entry) in places.items()}
    must_match(directory, "config.json", rules, shapes, own_tensors(model))
    with_memory(model)
    ours = own_tensors(model)
    for path in files:
        with open(path, "rb") as file:
            for name, (place, entry) in places.items():
                if place == path:
                    own = lies_alike(rules[name], entry, ours)
                    if own:
                        model.get_parameter(own).data = safetensors_file.mapped_tensor(path, entry)
                    else:
                        fill(rules[name], safetensors_file.read_tensor(file, name, entry), ours)
    return model.requires_grad_(False).eval()


def save_model(
    model: Transformer,
    directory: Path,
    *,
    token_ids: Mapping[str, TokenIds] | None = None,
    dtype: torch.dtype | None = None,
    largest_shard: int = LARGEST_SHARD,
) -> None:
    """Write `config.json`, `generation_config.json` and the weights, in their own type or in `dtype`.

    `token_ids` are what a tokenizer's `token_ids` gives: which tokens begin, end and pad a sequence.
    """
    directory.mkdir(parents=True, exist_ok=True)
    dtype = dtype or next(model.parameters()).dtype
    save_weights(model, directory, dtype, largest_shard)
    write_json(directory / "config.json", config_json(model.config, token_ids or {}, dtype))
    if token_ids:
        write_json(directory / "generation_config.json", {**token_ids, "do_sample": False})


def read_config(directory: Path) -> ModelConfig:
    """The shape that a directory's `config.json` describes. Raises `BadInput`."""
    path = directory / "config.json"
    try:
        if path.exists() and not path.is_file():
            raise BadInput(f"{path} is no file; name a Hugging Face model directory")
        read: object = json.loads(path.read_text("utf-8"))
        if not isinstance(read, dict):
            raise BadInput(f"{path} is not a model's configuration (it is no table of keys)")
        settings = cast("dict[str, Any]", read)
        family = family_of(settings, path)
        config = family.read(settings)
    except FileNotFoundError:
        raise BadInput(f"{directory} has no config.json; name a run or a Hugging Face model directory") from None
    except Unsupported as error:
        raise BadInput(f"{path} asks for {error}, which cannot be opened") from None
    except (KeyError, TypeError, IndexError, AttributeError, ArithmeticError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not a model's configuration ({error!r})") from None
    for name in ("vocab_size", "n_layers", "d_model", "n_heads", "n_kv_heads", "d_head", "d_mlp", "context"):
        value = getattr(config, name)
        if type(value) is not int or value < 1:
            raise BadInput(f"{path} is not a model's configuration ({name} is {value!r})")
    for name in ("norm_eps", "rope_theta"):
        value = getattr(config, name)
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise BadInput(f"{path} is not a model's configuration ({name} is {value!r})")
    if config.n_layers + config.n_encoder_layers > MOST_LAYERS:
        raise BadInput(f"{path} asks for {config.n_layers} layers; more than {MOST_LAYERS} are not opened")
    if config.n_heads % config.n_kv_heads:
        raise BadInput(f"{path}: {config.n_heads} heads cannot share {config.n_kv_heads} key and value heads evenly")
    return config


def family_of(settings: Mapping[str, Any], path: Path) -> Family:
    """The family of a config.json, by its class or its `model_type`. Raises `BadInput` for one that is not built."""
    architecture = (settings.get("architectures") or [""])[0]
    for family in FAMILIES.values():
        if architecture in family.architectures.values():
            return family
    kind = settings.get("model_type", "")
    if kind in FAMILIES and not architecture:
        return FAMILIES[kind]
    # A directory of the body alone, such as GPT2Model, has the same blocks and, where it is tied, the same head.
    if kind in FAMILIES and architecture.endswith("Model") and settings.get("tie_word_embeddings", True):
        return FAMILIES[kind]
    raise BadInput(
        f"{path} describes a {architecture or kind or 'nameless model'}, which cannot be opened; "
        f"the families are {', '.join(FAMILIES)}"
    )


def config_json(
    config: ModelConfig, token_ids: Mapping[str, TokenIds] | None = None, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """`config.json` for `transformers`."""
    family = FAMILIES[config.family]
    return {
        "architectures": [family.architectures[config.head]],
        "model_type": family.name,
        # Where these are not said, some software takes numbers of its own, beyond a small vocabulary.
        **dict.fromkeys(TOKEN_IDS, None),
        **family.write(config),
        **(token_ids or {}),
        "torch_dtype": str(dtype).removeprefix("torch."),
        "use_cache": config.kind != "encoder",
    }


def weight_files(directory: Path) -> list[Path]:
    """The files of weights of a directory. Raises `BadInput` if there are none, or one of several is not there."""
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    try:
        index = json.loads((directory / INDEX).read_text("utf-8"))
        names = sorted(set(map(str, cast("dict[str, object]", index["weight_map"]).values())))
    except FileNotFoundError:
        if any(directory.glob("*.bin")) or any(directory.glob("*.pt*")):
            raise BadInput(
                f"{directory} holds its weights as a pickle, which can run code when opened; get them as safetensors"
            ) from None
        raise BadInput(f"{directory} has no {WEIGHTS}; is it a model directory?") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(f"{directory / INDEX} cannot be read; get the model again") from None
    for name in names:
        # Names are data: one must not lead out of the directory.
        if Path(name).name != name or not (directory / name).is_file():
            raise BadInput(f"{directory} lacks {name}, which its index names; get the model again")
    return [directory / name for name in names]


def rules_of(model: Transformer) -> dict[str, Held]:
    """Which tensors of a directory hold which of the model's; tied ones are not in a directory."""
    config = model.config
    experts = config.experts.n if config.experts else 0
    return holdings(FAMILIES[config.family].names(config), own_tensors(model), experts)


def tied_name(model: Transformer) -> str | None:
    """What a directory that holds a tied output matrix after all calls it."""
    if not model.config.tied_embeddings or model.config.head not in ("linear", "masked"):
        return None
    (name,) = holdings(
        {
            ours: theirs
            for ours, theirs in FAMILIES[model.config.family].names(model.config).items()
            if ours == "unembed"
        },
        ["unembed.weight"],
    )
    return name


def lies_alike(held: Held, entry: Entry, ours: Mapping[str, Tensor]) -> str | None:
    """The name of our tensor that one of theirs is to the byte, so that it need not be copied; None if none is.

    Nor is a small one: it is read in no time, and memory of its own is faster to train in than a file's pages.
    """
    ((own, index), *_) = held.ours
    alike = held.layout is AS_IT_IS and index is None and ours[own].dtype == entry.dtype
    return own if alike and entry.begin % entry.dtype.itemsize == 0 and entry.end - entry.begin >= MAPPED_FROM else None


def _under_our_prefix(
    places: dict[str, tuple[Path, Entry]], rules: Mapping[str, Held], family: Family, tied: str | None
) -> dict[str, tuple[Path, Entry]]:
    """Their tensors by the names of a model with a head, without those that nothing reads."""
    found: dict[str, tuple[Path, Entry]] = {}
    for name, place in places.items():
        full = name if name in rules else family.prefix + name
        if full in rules:
            found[full] = place
        elif name != tied and not name.endswith(family.ignored):
            found[name] = place
    return found


def save_weights(model: Transformer, directory: Path, dtype: torch.dtype, largest_shard: int) -> None:
    """Write the weights under their family's names, into one file or into several with an index."""
    family, ours = FAMILIES[model.config.family], own_tensors(model)
    bare = model.config.head in ("pooler", "none") and family.prefix
    shards: list[dict[str, Any]] = [{}]
    sizes = [0]
    for name, held in rules_of(model).items():
        shape = shape_of(held, ours)
        size = shape.numel() * dtype.itemsize
        if sizes[-1] and sizes[-1] + size > largest_shard:
            shards.append({})
            sizes.append(0)
        name = name.removeprefix(family.prefix) if bare else name
        shards[-1][name] = (dtype, tuple(shape), lambda held=held: held.layout.join(parts_of(held, ours)))
        sizes[-1] += size
    if len(shards) == 1:
        safetensors_file.write(directory / WEIGHTS, shards[0])
        return
    where: dict[str, str] = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        safetensors_file.write(directory / file, shard)
        where |= dict.fromkeys(shard, file)
    write_json(directory / INDEX, {"metadata": {"total_size": sum(sizes)}, "weight_map": where})
