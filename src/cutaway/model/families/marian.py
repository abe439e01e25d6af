"""Marian (Junczys-Dowmunt et al. 2018): the 2017 Transformer as published, with sinusoidal positions."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families import bart
from cutaway.model.families.family import Family, Json, must_be
from cutaway.model.weights import Names


def read(config: Json) -> ModelConfig:
    """The shape that config.json describes."""
    must_be(config, share_encoder_decoder_embeddings=True, normalize_embedding=False)
    return bart.read(
        {key: value for key, value in config.items() if key != "normalize_embedding"},
        family="marian",
        embedding_norm=False,
        positions="sinusoidal",
        position_offset=0,
    )


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json."""
    return bart.write(config) | {"share_encoder_decoder_embeddings": True, "normalize_embedding": False}


def names(config: ModelConfig) -> Names:
    """BART's names; positions are computed."""
    return bart.names(config)


MARIAN = Family(
    "marian",
    {"linear": "MarianMTModel"},
    read,
    write,
    names,
    ignored=(
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "encoder.embed_positions.weight",
        "decoder.embed_positions.weight",
    ),
)
