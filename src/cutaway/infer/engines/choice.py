"""Which engine writes: by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from cutaway.infer.engine import Engine
from cutaway.infer.engines import llama_context, vllm_library
from cutaway.infer.engines.llama_cpp import llama_cpp_engine
from cutaway.infer.engines.vllm import VllmEngine
from cutaway.infer.native import Precision, native_or_torch

EngineName = Literal["cutaway", "llama.cpp", "vllm"]


def engine_of(name: EngineName, weights: Precision | None = None) -> Callable[..., Any]:
    """What makes an engine for a model, with `submit`, `load` and `close` as `Engine` has them.

    It takes the model, and by name `most_rows` and `waiting`.

    Args:
        name: "cutaway" is our own.
        weights: what weights are kept as; None for float32, and where another engine reads the model's own files, for
            what those hold.

    Raises:
        BadInput: that engine is not installed, or keeps no such weights.
    """
    if name == "cutaway":
        return partial(Engine, runner=native_or_torch(weights=weights or "float32"))
    if name == "llama.cpp":
        llama_context.library()
        return partial(llama_cpp_engine, weights=weights)
    vllm_library.library()
    vllm_library.dtype_of(weights)
    return partial(VllmEngine, weights=weights)
