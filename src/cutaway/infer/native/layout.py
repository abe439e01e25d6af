"""The native library's structures and functions, as interface.h and native.cpp have them."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_float, c_int, c_int32, c_void_p
from typing import Any

Fields = list[tuple[str, type[Any]]]


def integers(names: str) -> Fields:
    """32-bit fields of these names."""
    return [(name, c_int32) for name in names.split()]


def numbers(names: str) -> Fields:
    """float32 fields of these names."""
    return [(name, c_float) for name in names.split()]


def pointers(names: str) -> Fields:
    """Pointer fields of these names."""
    return [(name, c_void_p) for name in names.split()]


class NormParts(Structure):
    """A norm's gain and bias; no gain means no norm."""

    _fields_ = pointers("gain bias")


class Shape(Structure):
    """A model's shape, and what belongs to no layer."""

    _fields_ = [
        *integers("n_layers d_model n_heads n_kv_heads d_head d_rotary d_mlp vocab_size"),
        *integers("centred norm_place parallel qk_norm gated activation embed_bfloat16"),
        *numbers("norm_eps attention_scale attention_softcap embedding_scale logit_scale final_softcap"),
        *pointers("embed positions slopes bias_unembed"),
        ("norm_embed", NormParts),
        ("norm_final", NormParts),
    ]


class LayerParts(Structure):
    """What a layer has beside its matrices."""

    _fields_ = [
        *((name, NormParts) for name in ("norm1", "norm1_after", "norm2", "norm2_after")),
        *pointers("norm_q norm_k bias_qkv bias_o bias_up bias_down"),
        *integers("window turn"),
    ]


class StepParts(Structure):
    """What is computed in one step."""

    _fields_ = [
        *integers("rows tokens picks"),
        *pointers("counts starts ids pages page_starts pick logits cos sin near_cos near_sin"),
    ]


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library, its functions told what they take and give."""
    library.cutaway_open.restype = c_void_p
    library.cutaway_open.argtypes = [POINTER(Shape), c_int]
    library.cutaway_close.restype = None
    library.cutaway_close.argtypes = [c_void_p]
    library.cutaway_set_layer.restype = None
    library.cutaway_set_layer.argtypes = [c_void_p, c_int, POINTER(LayerParts)]
    library.cutaway_pack.argtypes = [c_void_p, c_int, c_void_p, c_int, c_int, c_int]
    library.cutaway_set_pages.restype = None
    library.cutaway_set_pages.argtypes = [c_void_p, c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p]
    library.cutaway_step.argtypes = [c_void_p, POINTER(StepParts)]
    return library
