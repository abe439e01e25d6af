"""The families whose directories can be read and written, one file each.

To add one: a file with a `Family`, and its line here.
"""

from __future__ import annotations

from cutaway.model.families import (
    bart,
    bert,
    bloom,
    gemma,
    gpt2,
    gpt_neox,
    llama,
    marian,
    mistral,
    modernbert,
    olmo2,
    phi3,
    qwen,
    smollm3,
    t5,
)
from cutaway.model.families.family import Family, Unsupported

ALL: tuple[Family, ...] = (
    gpt2.GPT2,
    gpt_neox.GPT_NEOX,
    bloom.BLOOM,
    llama.LLAMA,
    mistral.MISTRAL,
    mistral.MIXTRAL,
    qwen.QWEN2,
    qwen.QWEN3,
    qwen.QWEN3_MOE,
    smollm3.SMOLLM3,
    phi3.PHI3,
    gemma.GEMMA2,
    gemma.GEMMA3,
    olmo2.OLMO2,
    bert.BERT,
    bert.ROBERTA,
    modernbert.MODERNBERT,
    t5.T5,
    bart.BART,
    marian.MARIAN,
)

FAMILIES = {family.name: family for family in ALL}
"""Families by name, which is `model_type` in config.json."""

__all__ = ["FAMILIES", "Family", "Unsupported"]
