"""A model with its tokenizer, written for other software."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch

from cutaway.infer.language_model import LanguageModel
from cutaway.model import save_model
from cutaway.model.gguf import GGUFKind, save_gguf
from cutaway.runs import atomic
from cutaway.runs.errors import BadInput
from cutaway.tokens.gguf_header import Value
from cutaway.tokens.gguf_vocabulary import vocabulary_metadata

Format = Literal["hf", "gguf"]
DTYPES: dict[str, torch.dtype] = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
USUAL: dict[Format, GGUFKind] = {"hf": "f32", "gguf": "f16"}
"""How weights are written where nobody says."""


def export(lm: LanguageModel, to: str, *, out: Path | None = None, dtype: str | None = None) -> Path:
    """Write a model as a Hugging Face directory (`hf`) or as a file for llama.cpp (`gguf`); give where.

    Raises:
        BadInput: there is something at that place, the format does not have this `dtype`, or it cannot say what the
            model or its vocabulary is.
    """
    if to == "hf":
        if (dtype or USUAL["hf"]) not in DTYPES:
            raise BadInput(f"a Hugging Face directory holds {', '.join(DTYPES)}, not {dtype}; write {dtype} --to gguf")
        place = _free(out or Path(f"{_stem(lm)}-hf"))
        with atomic.directory(place) as new:
            lm.tokenizer.save(new, context=lm.config.context)
            save_model(lm.model, new, token_ids=lm.tokenizer.token_ids, dtype=DTYPES[dtype or USUAL["hf"]])
        return place
    if to != "gguf":
        raise BadInput(f"there is no format {to}; write --to hf or --to gguf")
    kinds = {kind: kind for kind in get_args(GGUFKind)}
    kind = kinds.get(dtype or USUAL["gguf"])
    if kind is None:
        raise BadInput(f"there is no --dtype {dtype}; in a GGUF file it is one of {', '.join(kinds)}")
    place = _free(out or Path(f"{_stem(lm)}-{kind}.gguf"))
    save_gguf(lm.model, place, kind=kind, vocabulary=_vocabulary(lm), name=_stem(lm))
    return place


def _vocabulary(lm: LanguageModel) -> dict[str, Value]:
    tokenizer = lm.tokenizer
    ids = tokenizer.token_ids
    bos, pad, ends = ids.get("bos_token_id"), ids.get("pad_token_id"), ids.get("eos_token_id", [])
    ends = ends if isinstance(ends, list) else [ends]
    turn = tokenizer.end_of_turn
    begins = tokenizer.document("a")[:1]
    return vocabulary_metadata(
        tokenizer.backend,
        vocab_size=lm.config.vocab_size,
        bos=bos if isinstance(bos, int) else None,
        eos=turn if turn in ends else next(iter(ends), None),
        eot=next((end for end in ends if end != turn), None),
        pad=pad if isinstance(pad, int) else None,
        add_bos=begins == [bos] and tokenizer.encode("a")[:1] != begins,
        chat_template=tokenizer.chat_template or None,
    )


def _stem(lm: LanguageModel) -> str:
    """What to call a model's files: the last part of its reference, without what a file system does not take."""
    name = Path(lm.name.rstrip("/")).name
    return (name.removesuffix(".gguf").removesuffix(".bin") or "model").replace(":", "-")


def _free(path: Path) -> Path:
    if path.exists():
        raise BadInput(f"there is something at {path} already; name another place with --out")
    return path
