"""A model in the form that another engine reads, written when it is first needed and kept.

What a model was opened from is used as it is where that engine reads it. All else goes into the cache, under a hash of
what the model holds: whoever trains it on or changes the adapter gets a new file.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import torch

from cutaway import __version__
from cutaway.infer.export import export
from cutaway.infer.language_model import LanguageModel, base_and_adapter, find_model
from cutaway.infer.native import Precision
from cutaway.model import read_config
from cutaway.model.gguf import GGUFKind, read_gguf_config, save_gguf
from cutaway.model.gguf_facts import ARCHITECTURES
from cutaway.model.weights import own_tensors
from cutaway.runs import BadInput, CutawayError
from cutaway.runs.cache import cache_directory

KINDS: dict[Precision, GGUFKind] = {"float32": "f32", "bfloat16": "bf16", "int8": "q8_0", "int4": "q4_0"}


def gguf_of(lm: LanguageModel, weights: Precision | None = None) -> Path:
    """A GGUF file with a model's weights, for token ids alone.

    That which it was opened from, if no other precision is asked for; else an export, in float32 if none is.

    Raises:
        BadInput: llama.cpp has nothing like this model.
    """
    own = opened_from(lm)
    if weights is None and own and own.suffix == ".gguf" and read_gguf_config(own) == lm.config:
        return own
    if lm.config.family not in ARCHITECTURES:
        raise BadInput(f"llama.cpp does not run a {lm.config.family} such as {lm.name}; leave out --engine")
    kind = KINDS[weights or "float32"]
    place = exports() / f"{fingerprint(lm)}-{kind}.gguf"
    if not place.exists():
        try:
            save_gguf(lm.model, place, kind=kind)
        except BadInput as error:
            why, _, _ = str(error).partition("; write")
            raise BadInput(f"llama.cpp cannot run {lm.name}: {why}; leave out --engine") from None
    return place


def directory_of(lm: LanguageModel, weights: Precision | None = None) -> Path:
    """A Hugging Face directory with a model: its own, else an export, in bfloat16 unless float32 is asked for."""
    own = opened_from(lm)
    if own and own.is_dir() and read_config(own) == lm.config:
        return own
    dtype = "f32" if weights == "float32" else "bf16"
    tokenizer = lm.tokenizer
    words = (tokenizer.backend.to_str(), tokenizer.chat_template, repr(sorted(tokenizer.token_ids.items())))
    place = exports() / f"{fingerprint(lm, *words)}-{dtype}"
    if not place.exists():
        export(lm, "hf", out=place, dtype=dtype)
    return place


def exports() -> Path:
    """Where exports are kept; they can be deleted at any time."""
    return cache_directory() / "exports"


def opened_from(lm: LanguageModel) -> Path | None:
    """The file or directory whose weights a model has as they are; None where it has an adapter, or none is there."""
    base, adapter = base_and_adapter(lm.name)
    if adapter:
        return None
    try:
        return find_model(base)
    except CutawayError:
        return None


def fingerprint(lm: LanguageModel, *words: str) -> str:
    """A hash of a model's shape and weights, of these words, and of the version that writes them."""
    digest = blake2b(digest_size=12)
    for word in (__version__, repr(lm.config), *words):
        digest.update(word.encode() + b"\0")
    for name, weight in own_tensors(lm.model).items():
        digest.update(f"{name} {weight.dtype} {list(weight.shape)}\0".encode())
        digest.update(weight.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
